use ndarray::{ArrayBase, ArrayViewMut1, Axis, DataMut, Dimension};
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use crate::Float;
use crate::definition::{DctType, Definition, Normalization};
use crate::direct::Direct;
use crate::fft::{Composite, Delegated, Even, First, Fourth, Odd};
use crate::small::{self, Small};

/// A 1-D transform of one type, length and normalisation, ready to be run many times.
///
/// Made once (it computes tables), then shared: it is `Send` and `Sync`, and each thread brings a
/// [`Scratch`] of its own, so that nothing is allocated per transform.
///
/// ```
/// use dct::{DctType, Normalization, Plan};
/// let plan = Plan::<f64>::forward(DctType::II, 4, Normalization::Backward);
/// let mut scratch = plan.scratch();
/// let mut rows = [1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0]; // two rows
/// plan.process(&mut rows, &mut scratch);
/// assert_eq!(rows[..3], [8.0, 0.0, 0.0]);
/// ```
pub struct Plan<T> {
    definition: Definition,
    algorithm: Algorithm<T>,
    /// Real and complex elements of scratch.
    scratch_len: (usize, usize),
}

enum Algorithm<T> {
    Small(Small<T>),
    Direct(Direct<T>),
    Even(Even<T>),
    Composite(Composite<T>),
    Odd(Odd<T>),
    First(First<T>),
    Fourth(Fourth<T>),
    Delegated(Delegated<T>),
}

impl<T: Float> Algorithm<T> {
    /// Real and complex elements.
    fn scratch_len(&self) -> (usize, usize) {
        match self {
            Self::Small(_) => (0, 0),
            Self::Direct(direct) => (direct.scratch_len(), 0),
            Self::Even(even) => (0, even.scratch_len()),
            Self::Composite(composite) => (0, composite.scratch_len()),
            Self::Odd(odd) => (0, odd.scratch_len()),
            Self::First(first) => (0, first.scratch_len()),
            Self::Fourth(fourth) => (0, fourth.scratch_len()),
            Self::Delegated(delegated) => (delegated.scratch_len(), 0),
        }
    }
}

/// Working memory of a [`Plan`], owned by the caller.
#[derive(Clone, Debug)]
pub struct Scratch<T> {
    /// Lanes gathered from an array.
    gathered: Vec<T>,
    real: Vec<T>,
    complex: Vec<Complex<T>>,
}

/// Lanes that are gathered and transformed together.
const GATHERED: usize = 8;

impl<T: Float> Plan<T> {
    /// Plans the transform `kind` of length `len`.
    ///
    /// # Panics
    /// If `len == 0`, or `len == 1` for type I.
    #[track_caller]
    pub fn forward(kind: DctType, len: usize, normalization: Normalization) -> Self {
        T::plan(Definition::forward(kind, len, normalization))
    }

    /// Plans the inverse of [`forward`](Self::forward) with the same arguments.
    ///
    /// ```
    /// use dct::{DctType, Normalization, Plan};
    /// let plan = Plan::<f64>::inverse(DctType::II, 4, Normalization::Backward);
    /// let mut row = [8.0, 0.0, 0.0, 0.0];
    /// plan.process(&mut row, &mut plan.scratch());
    /// approx::assert_abs_diff_eq!(row[..], [1.0, 1.0, 1.0, 1.0], epsilon = 1e-15);
    /// ```
    ///
    /// # Panics
    /// If `len == 0`, or `len == 1` for type I.
    #[track_caller]
    pub fn inverse(kind: DctType, len: usize, normalization: Normalization) -> Self {
        T::plan(Definition::inverse(kind, len, normalization))
    }

    pub(crate) fn new(definition: Definition) -> Self {
        let planner = &mut FftPlanner::new();
        let even = definition.len.is_multiple_of(2);
        let algorithm = if definition.len <= small::LONGEST {
            Algorithm::Small(Small::new(&definition))
        } else if definition.len <= longest_direct(&definition) {
            Algorithm::Direct(Direct::new(&definition))
        } else {
            match definition.kind {
                DctType::I => Algorithm::First(First::new(&definition, planner)),
                DctType::II | DctType::III if DELEGATED.contains(&definition.len) => {
                    Algorithm::Delegated(Delegated::new(&definition))
                }
                DctType::II | DctType::III if even => {
                    Algorithm::Even(Even::new(&definition, planner))
                }
                DctType::II | DctType::III => match Composite::<T>::factor(definition.len) {
                    Some(factor) => {
                        Algorithm::Composite(Composite::new(&definition, factor, planner))
                    }
                    None => Algorithm::Odd(Odd::new(&definition, planner)),
                },
                DctType::IV if even => Algorithm::Fourth(Fourth::new(&definition, planner)),
                DctType::IV => Algorithm::Delegated(Delegated::new(&definition)),
            }
        };
        let scratch_len = algorithm.scratch_len();
        Self { definition, algorithm, scratch_len }
    }

    /// Samples in one transform.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.definition.len
    }

    /// Allocates what [`process`](Self::process) and [`process_axis`](Self::process_axis) need.
    pub fn scratch(&self) -> Scratch<T> {
        let (real, complex) = self.scratch_len;
        Scratch {
            gathered: vec![T::zero(); GATHERED * self.len()],
            real: vec![T::zero(); real],
            complex: vec![Complex::new(T::zero(), T::zero()); complex],
        }
    }

    /// Transforms contiguous rows in place: `rows` is `[n, len]` in row-major order.
    ///
    /// # Panics
    /// If `rows.len()` is no multiple of [`len`](Self::len), or if `scratch` comes from another
    /// plan and is too short.
    #[track_caller]
    pub fn process(&self, rows: &mut [T], scratch: &mut Scratch<T>) {
        assert!(
            rows.len() == self.len() || rows.len().is_multiple_of(self.len()),
            "Plan::process: expected a multiple of {} samples, got {}",
            self.len(),
            rows.len()
        );
        scratch.check(self);
        T::rows(self, rows, &mut scratch.real, &mut scratch.complex);
    }

    pub(crate) fn process_rows(&self, rows: &mut [T], real: &mut [T], complex: &mut [Complex<T>]) {
        match &self.algorithm {
            Algorithm::Small(small) => small.process(rows),
            Algorithm::Direct(direct) => direct.process(rows, real),
            Algorithm::Even(even) => even.process(rows, complex),
            Algorithm::Composite(composite) => composite.process(rows, complex),
            Algorithm::Odd(odd) => odd.process(rows, complex),
            Algorithm::First(first) => first.process(rows, complex),
            Algorithm::Fourth(fourth) => fourth.process(rows, complex),
            Algorithm::Delegated(delegated) => delegated.process(rows, real),
        }
    }

    /// Transforms every lane along `axis` in place, whatever the strides.
    ///
    /// ```
    /// use dct::{DctType, Normalization, Plan};
    /// let mut x = ndarray::array![[1.0, 2.0], [1.0, 4.0]];
    /// let plan = Plan::forward(DctType::II, 2, Normalization::Backward);
    /// plan.process_axis(&mut x, ndarray::Axis(0), &mut plan.scratch());
    /// approx::assert_abs_diff_eq!(x, ndarray::array![[4.0, 12.0], [0.0, -8.0_f64.sqrt()]], epsilon = 1e-14);
    /// ```
    ///
    /// # Panics
    /// If the array has no such axis, if the axis is not [`len`](Self::len) long, or if `scratch`
    /// comes from another plan and is too short.
    #[track_caller]
    pub fn process_axis<S, D>(
        &self,
        array: &mut ArrayBase<S, D>,
        axis: Axis,
        scratch: &mut Scratch<T>,
    ) where
        S: DataMut<Elem = T>,
        D: Dimension,
    {
        assert!(
            axis.index() < array.ndim(),
            "Plan::process_axis: expected an axis below {}, got {}",
            array.ndim(),
            axis.index()
        );
        assert!(
            array.len_of(axis) == self.len(),
            "Plan::process_axis: expected an axis of {} samples, got {}",
            self.len(),
            array.len_of(axis)
        );
        scratch.check(self);
        let inner: usize = array.shape()[axis.index() + 1..].iter().product();
        match array.as_slice_mut() {
            Some(samples) => self.process_inner(samples, inner, scratch),
            None => self.process_gathered(array, axis, scratch),
        }
    }

    /// Transforms along the first axis of each contiguous `[len, inner]` array.
    pub(crate) fn process_inner(&self, arrays: &mut [T], inner: usize, scratch: &mut Scratch<T>) {
        if inner == 1 {
            return T::rows(self, arrays, &mut scratch.real, &mut scratch.complex);
        }
        let takes_lanes = match &self.algorithm {
            Algorithm::Small(small) => small.takes_lanes(),
            Algorithm::Direct(_) => true,
            _ => false,
        };
        if takes_lanes {
            return T::lanes(self, arrays, inner, &mut scratch.real);
        }
        let Scratch { gathered, real, complex } = scratch;
        for array in arrays.chunks_exact_mut(self.len() * inner) {
            let mut start = 0;
            while start < inner {
                let count = GATHERED.min(inner - start);
                let lanes = &mut gathered[..count * self.len()];
                for (i, row) in array.chunks_exact(inner).enumerate() {
                    for (lane, &x) in row[start..start + count].iter().enumerate() {
                        lanes[lane * self.len() + i] = x;
                    }
                }
                T::rows(self, lanes, real, complex);
                for (i, row) in array.chunks_exact_mut(inner).enumerate() {
                    for (lane, x) in row[start..start + count].iter_mut().enumerate() {
                        *x = lanes[lane * self.len() + i];
                    }
                }
                start += count;
            }
        }
    }

    /// [`process_inner`](Self::process_inner), for the algorithms that need not gather lanes first.
    pub(crate) fn process_lanes(&self, arrays: &mut [T], inner: usize, real: &mut [T]) {
        match &self.algorithm {
            Algorithm::Small(small) => small.process_lanes(arrays, inner),
            Algorithm::Direct(direct) => direct.process_lanes(arrays, inner, real),
            _ => unreachable!("FFTs run over gathered lanes"),
        }
    }

    fn process_gathered<S, D>(
        &self,
        array: &mut ArrayBase<S, D>,
        axis: Axis,
        scratch: &mut Scratch<T>,
    ) where
        S: DataMut<Elem = T>,
        D: Dimension,
    {
        let Scratch { gathered, real, complex } = scratch;
        let mut lanes = array.lanes_mut(axis).into_iter();
        loop {
            let mut group: [Option<ArrayViewMut1<'_, T>>; GATHERED] =
                std::array::from_fn(|_| lanes.next());
            let count = group.iter().flatten().count();
            if count == 0 {
                return;
            }
            let rows = &mut gathered[..count * self.len()];
            for (row, lane) in rows.chunks_exact_mut(self.len()).zip(group.iter().flatten()) {
                row.iter_mut().zip(lane).for_each(|(to, from)| *to = *from);
            }
            T::rows(self, rows, real, complex);
            for (row, lane) in rows.chunks_exact(self.len()).zip(group.iter_mut().flatten()) {
                lane.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

impl<T: Float> Scratch<T> {
    #[track_caller]
    fn check(&self, plan: &Plan<T>) {
        let (real, complex) = plan.scratch_len;
        let fits = self.gathered.len() >= GATHERED * plan.len()
            && self.real.len() >= real
            && self.complex.len() >= complex;
        assert!(
            fits,
            "Plan: expected scratch of a plan of length {}, got a shorter one",
            plan.len()
        );
    }
}

/// Lengths whose own FFT is faster than one of half the length: 36 is a butterfly of `rustfft`, 18 is not.
const DELEGATED: [usize; 4] = [180, 252, 396, 900];

/// The longest length for which the matrix beats an FFT; it depends on the factors of the length.
/// Measured, see docs/results/dct.md.
fn longest_direct(definition: &Definition) -> usize {
    let len = match definition.kind {
        DctType::I => definition.len - 1,
        _ => definition.len,
    };
    let limit = match (largest_prime_factor(len), len % 2 == 0) {
        (..14, true) => 62,
        (14.., true) => 96,
        (..8, false) => 80,
        (8..14, false) => 120,
        (14..24, false) => 150,
        // which a longer one is split by
        (24..32, false) if matches!(definition.kind, DctType::II | DctType::III) => 150,
        (24..37, false) => 256,
        // Rader's algorithm, an FFT of one less, is fast if that has small factors
        (prime, false) if largest_prime_factor(prime - 1) <= 7 => 170,
        _ => 256,
    };
    // the matrix of type IV has no symmetry: twice as many products
    if definition.kind == DctType::IV { limit / 2 } else { limit }
}

/// The largest prime factor; 1 for 1.
fn largest_prime_factor(mut n: usize) -> usize {
    let mut largest = 1;
    let mut factor = 2;
    while factor * factor <= n {
        while n.is_multiple_of(factor) {
            largest = factor;
            n /= factor;
        }
        factor += 1;
    }
    largest.max(n)
}
