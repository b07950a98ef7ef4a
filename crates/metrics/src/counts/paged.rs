use std::array;
use std::mem;
use std::sync::{Mutex, OnceLock};

use super::sorted::SortedCursor;
use super::{Counts, Cursor, Rank, lock, unlock};

/// Keys that share their upper 16 bits lie in one page.
const PAGE: usize = 1 << 16;
/// A page is a list of lower halves until the list is as large as a table of counters.
const LIST: usize = PAGE / mem::size_of::<u16>();
/// Below this length sorting a list is cheaper than filling a table.
const SHORT: usize = 1 << 10;
/// Keys gathered for one page before its counters are touched.
const GATHER: usize = 1 << 9;

/// Exact counts of 32-bit keys: 65536 pages of 65536 counters, each made when first needed.
///
/// A key costs at most two bytes, and a page at most 64 KiB however many keys fall into it, up to one byte in 128
/// keys for the carries of its 8-bit counters.
/// The cost of a key does not depend on the range of the scores: nothing is scaled.
pub struct Paged {
    groups: [OnceLock<Box<[Mutex<Page>; 256]>>; 256],
}

impl Default for Paged {
    fn default() -> Self {
        Self { groups: array::from_fn(|_| OnceLock::new()) }
    }
}

impl Paged {
    fn page(&self, upper: u16) -> &Mutex<Page> {
        let [group, member] = upper.to_be_bytes().map(usize::from);
        let group = self.groups[group]
            .get_or_init(|| Box::new(array::from_fn(|_| Mutex::new(Page::default()))));
        &group[member]
    }
}

impl Counts<u32> for Paged {
    type Buffer = Gather;
    type Cursor = PagedCursor;

    fn extend(&self, buffer: &mut Gather, keys: impl ExactSizeIterator<Item = u32>) {
        for key in keys {
            let (upper, lower) = ((key >> 16) as u16, key as u16);
            let slot = buffer.slot(upper);
            slot.lower[usize::from(slot.len) % GATHER] = lower;
            slot.len += 1;
            if usize::from(slot.len) == GATHER {
                slot.len = 0;
                lock(self.page(upper)).extend(&slot.lower);
            }
        }
    }

    fn flush(&self, buffer: &mut Gather) {
        for slot in &mut buffer.slots {
            let gathered = usize::from(mem::take(&mut slot.len));
            if gathered > 0 {
                lock(self.page(slot.upper)).extend(&slot.lower[..gathered]);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (upper, page) in other.into_pages() {
            lock(self.page(upper)).merge(page);
        }
    }

    fn total(&self) -> u64 {
        let groups = self.groups.iter().filter_map(OnceLock::get);
        groups.flat_map(|group| group.iter()).map(|page| lock(page).total).sum()
    }

    fn into_cursor(self) -> PagedCursor {
        let mut pages: Vec<(u16, Page)> = self.into_pages().collect();
        let current = pages.pop().map(|(upper, page)| (upper, PageCursor::new(page)));
        PagedCursor { pages, above: 0, current }
    }
}

impl Paged {
    /// The pages in use, in ascending order.
    fn into_pages(self) -> impl Iterator<Item = (u16, Page)> {
        let groups = self.groups.into_iter().enumerate();
        groups
            .filter_map(|(index, group)| Some((index, group.into_inner()?)))
            .flat_map(|(index, group)| {
                let members = group.into_iter().enumerate();
                members.map(move |(member, page)| ((index << 8 | member) as u16, unlock(page)))
            })
            .filter(|(_, page)| page.total > 0)
    }
}

/// Lower halves of the keys of one thread, gathered by page so that its counters stay in the cache while they are
/// touched.
pub struct Gather {
    /// One more than the slot of each upper half, 0 where there is none yet.
    index: Vec<u32>,
    slots: Vec<Slot>,
}

struct Slot {
    upper: u16,
    len: u16,
    lower: [u16; GATHER],
}

impl Default for Gather {
    fn default() -> Self {
        Self { index: vec![0; PAGE], slots: Vec::new() }
    }
}

impl Gather {
    #[inline]
    fn slot(&mut self, upper: u16) -> &mut Slot {
        let index = &mut self.index[usize::from(upper)];
        if *index == 0 {
            self.slots.push(Slot { upper, len: 0, lower: [0; GATHER] });
            *index = self.slots.len() as u32;
        }
        &mut self.slots[*index as usize - 1]
    }
}

/// Counts of up to 65536 keys.
#[derive(Default)]
struct Page {
    total: u64,
    list: Vec<u16>,
    /// Counts modulo 256, once the list has grown too long.
    cells: Option<Box<[u8]>>,
    /// Where a cell passed 255: a page that counts multiples of 256.
    carries: Option<Box<Page>>,
}

impl Page {
    fn extend(&mut self, keys: &[u16]) {
        self.total += keys.len() as u64;
        if self.cells.is_some() {
            self.count(keys);
            return;
        }
        self.list.extend_from_slice(keys);
        if self.list.len() > LIST {
            self.tabulate();
        }
    }

    fn tabulate(&mut self) {
        let list = mem::take(&mut self.list);
        self.cells = Some(vec![0; PAGE].into_boxed_slice());
        self.count(&list);
    }

    fn count(&mut self, keys: &[u16]) {
        let Some(cells) = self.cells.as_deref_mut().and_then(<[u8]>::first_chunk_mut::<PAGE>)
        else {
            return;
        };
        for &key in keys {
            let cell = &mut cells[usize::from(key)];
            *cell = cell.wrapping_add(1);
            if *cell == 0 {
                self.carries.get_or_insert_default().extend(&[key]);
            }
        }
    }

    fn merge(&mut self, other: Page) {
        if let Some(cells) = other.cells {
            if self.cells.is_none() {
                self.tabulate();
            }
            let own = self.cells.iter_mut().flat_map(|own| own.iter_mut());
            for (key, (own, other)) in own.zip(cells).enumerate() {
                let carry;
                (*own, carry) = own.overflowing_add(other);
                if carry {
                    self.carries.get_or_insert_default().extend(&[key as u16]);
                }
            }
            self.total += other.total;
        } else {
            self.extend(&other.list);
        }
        if let Some(carries) = other.carries {
            self.carries.get_or_insert_default().merge(*carries);
        }
    }
}

/// Walks down the pages, dropping each when it has been passed.
pub struct PagedCursor {
    /// Pages below the current one, ascending.
    pages: Vec<(u16, Page)>,
    /// Keys in the pages above the current one.
    above: u64,
    current: Option<(u16, PageCursor)>,
}

impl Cursor<u32> for PagedCursor {
    fn seek(&mut self, key: u32) -> Rank {
        let upper = (key >> 16) as u16;
        while let Some((_, page)) = self.current.take_if(|(current, _)| *current > upper) {
            self.above += page.total;
            // Pages between are skipped without being prepared.
            while let Some((_, page)) = self.pages.pop_if(|(next, _)| *next > upper) {
                self.above += page.total;
            }
            self.current = self.pages.pop().map(|(upper, page)| (upper, PageCursor::new(page)));
        }
        let rank = match &mut self.current {
            Some((current, page)) if *current == upper => page.seek(key as u16),
            _ => Rank::default(),
        };
        Rank { above: self.above + rank.above, equal: rank.equal }
    }
}

struct PageCursor {
    total: u64,
    form: Form,
    carries: Option<Box<PageCursor>>,
}

enum Form {
    List(SortedCursor<u16>),
    /// The cells from `position` on have been added up to `above`.
    Cells {
        cells: Box<[u8]>,
        position: usize,
        above: u64,
    },
}

impl PageCursor {
    fn new(mut page: Page) -> Self {
        if page.cells.is_none() && page.list.len() > SHORT {
            page.tabulate();
        }
        let form = match page.cells {
            Some(cells) => Form::Cells { cells, position: PAGE, above: 0 },
            None => Form::List(SortedCursor::new(page.list)),
        };
        let carries = page.carries.map(|carries| Box::new(Self::new(*carries)));
        Self { total: page.total, form, carries }
    }

    fn seek(&mut self, key: u16) -> Rank {
        let rank = match &mut self.form {
            Form::List(list) => list.seek(key),
            Form::Cells { cells, position, above } => {
                let next = usize::from(key);
                *above += sum(&cells[next + 1..*position]);
                *position = next + 1;
                Rank { above: *above, equal: u64::from(cells[next]) }
            }
        };
        match &mut self.carries {
            None => rank,
            Some(carries) => {
                let carried = carries.seek(key);
                Rank {
                    above: rank.above + 256 * carried.above,
                    equal: rank.equal + 256 * carried.equal,
                }
            }
        }
    }
}

fn sum(cells: &[u8]) -> u64 {
    // 256 cells fit into 16 bits, which the processor adds several at a time.
    let partial = |chunk: &[u8]| chunk.iter().fold(0u16, |sum, &cell| sum + u16::from(cell));
    cells.chunks(256).map(|chunk| u64::from(partial(chunk))).sum()
}
