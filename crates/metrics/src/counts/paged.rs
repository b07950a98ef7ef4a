use std::array;
use std::mem;
use std::sync::{Mutex, OnceLock};

use super::sorted::SortedCursor;
use super::{Counts, Cursor, Rank, lock, sort_descending, unlock};

/// Keys that share their upper 16 bits lie in one page.
const PAGE: usize = 1 << 16;
/// A page is a list of lower halves until the list is as large as a table of counters.
const LIST: usize = PAGE / mem::size_of::<u16>();
/// Keys that a page with a table lists before counting them: enough to use each cache line of the table several times.
const BATCH: usize = 1 << 13;
/// Below this length sorting a list is cheaper than filling a table.
const SHORT: usize = 1 << 10;
/// Keys that a thread gathers for one page; those of all pages in use fit into the second-level cache.
const GATHER: usize = 1 << 8;
/// Fewer keys than this stay in a plain list: the smallest inputs need no pages.
const LOOSE: usize = 1 << 14;

/// Exact counts of 32-bit keys: 65536 pages of 65536 counters, each made when first needed.
///
/// A key costs about two bytes at most, and a page about 80 KiB however many keys fall into it, but for the carries of its
/// 8-bit counters, one byte in 128 keys.
/// The cost of a key does not depend on the range of the scores: nothing is scaled.
#[derive(Default)]
pub struct Paged {
    loose: Mutex<Vec<u32>>,
    /// Made when the loose keys have become too many.
    groups: OnceLock<Box<[Group; 256]>>,
}

type Group = OnceLock<Box<[Mutex<Page>; 256]>>;

impl Paged {
    fn page(&self, upper: u16) -> &Mutex<Page> {
        let [group, member] = upper.to_be_bytes().map(usize::from);
        let groups = self.groups.get_or_init(|| Box::new(array::from_fn(|_| OnceLock::new())));
        let group =
            groups[group].get_or_init(|| Box::new(array::from_fn(|_| Mutex::new(Page::default()))));
        &group[member]
    }

    /// The groups in use, in ascending order, each with its number.
    fn groups(&self) -> impl DoubleEndedIterator<Item = (usize, &[Mutex<Page>; 256])> {
        let groups = self.groups.get().into_iter().flat_map(|groups| groups.iter().enumerate());
        groups.filter_map(|(index, group)| Some((index, &**group.get()?)))
    }

    /// Moves keys that have become too many for a plain list into the pages.
    fn scatter(&self, loose: &mut Vec<u32>) {
        let mut gather = Gather::default();
        gather.extend(self, loose.drain(..));
        gather.flush(self);
    }

    /// The pages in use, in ascending order.
    fn into_pages(self) -> impl Iterator<Item = (u16, Page)> {
        let groups =
            self.groups.into_inner().into_iter().flat_map(|groups| groups.into_iter().enumerate());
        groups
            .filter_map(|(index, group)| Some((index, group.into_inner()?)))
            .flat_map(|(index, group)| {
                let members = group.into_iter().enumerate();
                members.map(move |(member, page)| ((index << 8 | member) as u16, unlock(page)))
            })
            .filter(|(_, page)| page.total > 0)
    }
}

impl Counts<u32> for Paged {
    type Buffer = PagedBuffer;
    type Cursor = PagedCursor;

    fn extend(&self, buffer: &mut PagedBuffer, keys: impl ExactSizeIterator<Item = u32>) {
        if let Some(gather) = &mut buffer.gather {
            gather.extend(self, keys);
        } else if buffer.loose.len() + keys.len() <= LOOSE {
            buffer.loose.extend(keys);
        } else {
            let gather = buffer.gather.insert(Gather::default());
            gather.extend(self, buffer.loose.drain(..));
            gather.extend(self, keys);
        }
    }

    fn flush(&self, buffer: &mut PagedBuffer) {
        if let Some(gather) = &mut buffer.gather {
            gather.flush(self);
        }
        let mut loose = lock(&self.loose);
        if loose.is_empty() {
            mem::swap(&mut *loose, &mut buffer.loose);
        } else {
            loose.append(&mut buffer.loose);
        }
        if loose.len() > LOOSE {
            self.scatter(&mut loose);
        }
    }

    fn merge(&mut self, other: Self) {
        self.flush(&mut PagedBuffer { loose: mem::take(&mut lock(&other.loose)), gather: None });
        for (upper, page) in other.into_pages() {
            lock(self.page(upper)).merge(page);
        }
    }

    fn total(&self) -> u64 {
        let pages = self.groups().flat_map(|(_, group)| group.iter());
        let paged: u64 = pages.map(|page| lock(page).total).sum();
        paged + lock(&self.loose).len() as u64
    }

    fn descend(&mut self, visit: &mut dyn FnMut(u32, u64)) {
        let mut loose = lock(&self.loose);
        if self.groups.get().is_none() {
            sort_descending(&mut loose, |&key| key);
            for equal in loose.chunk_by(|left, right| left == right) {
                visit(equal[0], equal.len() as u64);
            }
            return;
        }
        self.scatter(&mut loose);
        let mut table = vec![0; PAGE];
        for (index, group) in self.groups().rev() {
            for (member, page) in group.iter().enumerate().rev() {
                let first = ((index << 8 | member) as u32) << 16;
                let mut visit = |lower: u16, count| visit(first | u32::from(lower), count);
                lock(page).descend(&mut table, &mut visit);
            }
        }
    }

    fn into_cursor(self) -> PagedCursor {
        let mut loose = mem::take(&mut *lock(&self.loose));
        if self.groups.get().is_none() {
            return PagedCursor::Loose(SortedCursor::new(loose));
        }
        self.scatter(&mut loose);
        let mut pages: Vec<(u16, Page)> = self.into_pages().collect();
        let current = pages.pop().map(|(upper, page)| (upper, PageCursor::new(page)));
        PagedCursor::Pages { pages, above: 0, current }
    }
}

/// Keys of one thread on their way into the pages.
#[derive(Default)]
pub struct PagedBuffer {
    loose: Vec<u32>,
    /// Once there are too many keys for a plain list.
    gather: Option<Gather>,
}

/// Lower halves of keys, gathered by page.
struct Gather {
    /// For each upper half, where its next key goes in `lower`; 0 before the first.
    next: Box<[u32]>,
    /// Blocks of `GATHER` lower halves, the first one unused.
    lower: Vec<u16>,
    /// Upper half of each block.
    upper: Vec<u16>,
}

impl Default for Gather {
    fn default() -> Self {
        let next = vec![0; PAGE].into_boxed_slice();
        Self { next, lower: vec![0; GATHER], upper: vec![0] }
    }
}

impl Gather {
    fn extend(&mut self, pages: &Paged, keys: impl Iterator<Item = u32>) {
        for key in keys {
            let upper = (key >> 16) as u16;
            let next = &mut self.next[usize::from(upper)];
            if *next == 0 {
                *next = self.lower.len() as u32;
                self.lower.resize(self.lower.len() + GATHER, 0);
                self.upper.push(upper);
            }
            let at = *next as usize;
            self.lower[at] = key as u16;
            *next += 1;
            if at % GATHER == GATHER - 1 {
                let start = at + 1 - GATHER;
                *next = start as u32;
                lock(pages.page(upper)).extend(&self.lower[start..=at]);
            }
        }
    }

    fn flush(&mut self, pages: &Paged) {
        for (block, &upper) in self.upper.iter().enumerate().skip(1) {
            let start = block * GATHER;
            let end = mem::replace(&mut self.next[usize::from(upper)], start as u32) as usize;
            if end > start {
                lock(pages.page(upper)).extend(&self.lower[start..end]);
            }
        }
    }
}

/// Counts of up to 65536 keys.
#[derive(Default)]
pub struct Page {
    total: u64,
    /// Keys not yet in `cells`.
    list: Vec<u16>,
    /// Counts modulo 256, once the list has grown too long.
    cells: Option<Box<[u8]>>,
    /// Where a cell passed 255: a page that counts multiples of 256.
    carries: Option<Box<Page>>,
}

impl Page {
    fn extend(&mut self, keys: &[u16]) {
        self.total += keys.len() as u64;
        self.list.extend_from_slice(keys);
        if self.list.len() > if self.cells.is_some() { BATCH } else { LIST } {
            self.tabulate();
        }
    }

    /// Counts the listed keys.
    fn tabulate(&mut self) {
        let cells = self.cells.get_or_insert_with(|| vec![0; PAGE].into_boxed_slice());
        let cells: &mut [u8; PAGE] = cells.as_mut().try_into().expect("a page has this size");
        for &key in &self.list {
            let cell = &mut cells[usize::from(key)];
            *cell = cell.wrapping_add(1);
            if *cell == 0 {
                self.carries.get_or_insert_default().extend(&[key]);
            }
        }
        self.list.clear();
        self.list.shrink_to(BATCH + GATHER);
    }

    /// Visits the distinct keys from the largest down; `table` is zero before and after.
    fn descend(&mut self, table: &mut [u64], visit: &mut impl FnMut(u16, u64)) {
        if self.cells.is_none() && self.list.len() <= SHORT {
            self.list.sort_unstable_by(|left, right| right.cmp(left));
            for equal in self.list.chunk_by(|left, right| left == right) {
                visit(equal[0], equal.len() as u64);
            }
            return;
        }
        self.add_to(table, 1);
        for (key, count) in table.iter_mut().enumerate().rev().filter(|(_, count)| **count > 0) {
            visit(key as u16, mem::take(count));
        }
    }

    fn add_to(&self, table: &mut [u64], weight: u64) {
        for &key in &self.list {
            table[usize::from(key)] += weight;
        }
        for (count, &cell) in table.iter_mut().zip(self.cells.iter().flat_map(|cells| cells.iter()))
        {
            *count += weight * u64::from(cell);
        }
        if let Some(carries) = &self.carries {
            carries.add_to(table, 256 * weight);
        }
    }

    fn merge(&mut self, other: Page) {
        if let Some(cells) = other.cells {
            self.tabulate();
            let own = self.cells.iter_mut().flat_map(|cells| cells.iter_mut());
            for (key, (own, other)) in own.zip(cells).enumerate() {
                let carry;
                (*own, carry) = own.overflowing_add(other);
                if carry {
                    self.carries.get_or_insert_default().extend(&[key as u16]);
                }
            }
            self.total += other.total - other.list.len() as u64;
        }
        self.extend(&other.list);
        if let Some(carries) = other.carries {
            self.carries.get_or_insert_default().merge(*carries);
        }
    }
}

/// Walks down the pages, dropping each when it has been passed.
pub enum PagedCursor {
    Loose(SortedCursor<u32>),
    Pages {
        /// Pages below the current one, ascending.
        pages: Vec<(u16, Page)>,
        /// Keys in the pages above the current one.
        above: u64,
        current: Option<(u16, PageCursor)>,
    },
}

impl Cursor<u32> for PagedCursor {
    fn seek(&mut self, key: u32) -> Rank {
        let (pages, above, current) = match self {
            Self::Loose(loose) => return loose.seek(key),
            Self::Pages { pages, above, current } => (pages, above, current),
        };
        let upper = (key >> 16) as u16;
        if let Some((_, passed)) = current.take_if(|(current, _)| *current > upper) {
            *above += passed.total;
            // Pages in between are not even prepared.
            while let Some((_, passed)) = pages.pop_if(|(next, _)| *next > upper) {
                *above += passed.total;
            }
            *current = pages.pop().map(|(upper, page)| (upper, PageCursor::new(page)));
        }
        let rank = match current {
            Some((current, page)) if *current == upper => page.seek(key as u16),
            _ => Rank::default(),
        };
        Rank { above: *above + rank.above, equal: rank.equal }
    }

    fn bound(&self, key: u32) -> Option<u32> {
        match self {
            Self::Loose(loose) => loose.bound(key),
            // To look for the next one would cost more than it saves.
            Self::Pages { .. } => Some(key),
        }
    }
}

pub struct PageCursor {
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
        if page.cells.is_some() || page.list.len() > SHORT {
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
