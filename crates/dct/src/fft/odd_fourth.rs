use std::sync::Arc;

use rustdct::{Dct4, DctPlanner};

use crate::Float;
use crate::definition::Definition;

/// Type IV of odd length, by `rustdct`.
pub(crate) struct OddFourth<T> {
    plan: Arc<dyn Dct4<T>>,
    factor: T,
}

impl<T: Float> OddFourth<T> {
    pub(crate) fn new(definition: &Definition) -> Self {
        let plan = DctPlanner::new().plan_dct4(definition.len);
        Self { plan, factor: T::of(2.0 * definition.scale) }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.plan.get_scratch_len()
    }

    pub(crate) fn process(&self, rows: &mut [T], scratch: &mut [T]) {
        for row in rows.chunks_exact_mut(self.plan.len()) {
            self.plan.process_dct4_with_scratch(row, scratch);
            row.iter_mut().for_each(|y| *y *= self.factor);
        }
    }
}
