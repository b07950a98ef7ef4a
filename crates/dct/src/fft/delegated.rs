use std::sync::Arc;

use rustdct::{Dct4, DctPlanner, TransformType2And3};

use crate::Float;
use crate::definition::{DctType, Definition};

/// Types II to IV by `rustdct`, for lengths where none of our algorithms is faster.
///
/// Its sums lack the factor 2, and in type III half the first sample's part.
pub(crate) struct Delegated<T> {
    plan: Planned<T>,
    len: usize,
    /// Factor of the first sample before the sum, where it differs from 1.
    input_end: Option<T>,
    /// Factor of the first coefficient, and of the others.
    factors: [T; 2],
}

enum Planned<T> {
    Second(Arc<dyn TransformType2And3<T>>),
    Third(Arc<dyn TransformType2And3<T>>),
    Fourth(Arc<dyn Dct4<T>>),
}

impl<T: Float> Delegated<T> {
    /// # Panics
    /// For type I.
    pub(crate) fn new(definition: &Definition) -> Self {
        let (planner, len) = (&mut DctPlanner::new(), definition.len);
        let plan = match definition.kind {
            DctType::I => unreachable!("type I is never delegated"),
            DctType::II => Planned::Second(planner.plan_dct2(len)),
            DctType::III => Planned::Third(planner.plan_dct3(len)),
            DctType::IV => Planned::Fourth(planner.plan_dct4(len)),
        };
        let input_end = definition.input_weight(0);
        Self {
            plan,
            len,
            input_end: (input_end != 1.0).then(|| T::of(input_end)),
            factors: [0, 1].map(|k| T::of(2.0 * definition.output_weight(k))),
        }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        match &self.plan {
            Planned::Second(plan) | Planned::Third(plan) => plan.get_scratch_len(),
            Planned::Fourth(plan) => plan.get_scratch_len(),
        }
    }

    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [T]) {
        for row in rows.chunks_exact_mut(self.len) {
            if let Some(factor) = self.input_end {
                row[0] *= factor;
            }
            match &self.plan {
                Planned::Second(plan) => plan.process_dct2_with_scratch(row, scratch),
                Planned::Third(plan) => plan.process_dct3_with_scratch(row, scratch),
                Planned::Fourth(plan) => plan.process_dct4_with_scratch(row, scratch),
            }
            row[0] *= self.factors[0];
            row[1..].iter_mut().for_each(|y| *y *= self.factors[1]);
        }
    }
}
