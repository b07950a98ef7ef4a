//! The heavy code, instantiated in this crate once for each precision and not again in every crate
//! that calls it.
#![expect(private_interfaces, reason = "nobody outside can name the trait")]

use rustfft::num_complex::Complex;

use crate::block::{Tall, Whole};
use crate::columns::{Matrix, with_columns, with_unrolled};
use crate::definition::Definition;
use crate::filter::{Filter, FilterBoth, FilterColumns, FilterRows};
use crate::lines::Ring;
use crate::mean::{Mean, MeanColumns, MeanRows};
use crate::pieces::{Lines, LinesMut};
use crate::plan::Plan;
use crate::simd::Vectorize;
use crate::steps::{KeepColumn, Row};
use crate::three::{MeanOfThree, ThreeBoth, ThreeColumns, ThreeRows};

/// Private, which seals [`Float`](crate::Float).
pub trait Kernels: Sized {
    fn plan(definition: Definition) -> Plan<Self>;

    /// [`Plan::process_rows`]
    fn rows(plan: &Plan<Self>, rows: &mut [Self], real: &mut [Self], complex: &mut [Complex<Self>]);

    /// [`Plan::process_lanes`]
    fn lanes(plan: &Plan<Self>, arrays: &mut [Self], inner: usize, real: &mut [Self]);

    fn whole_blocks(matrix: &Matrix<Self>, strip: &mut [Self], channels: usize);

    fn tall_columns(matrix: &Matrix<Self>, strip: &mut [Self]);

    fn filter_columns(filter: &Filter<Self>, rows: &[&[Self]], first: usize, out: &mut [Self]);

    fn filter_rows(filter: &Filter<Self>, line: &[Self], channels: usize, out: &mut [Self]);

    fn filter_both(
        filter: &Filter<Self>,
        rows: &[&[Self]],
        first: usize,
        line: &mut [Self],
        channels: usize,
        out: &mut [Self],
    );

    fn row(matrix: &Matrix<Self>, row: &[Self], channels: usize, lines: &mut [Self]);

    fn keep_column(matrix: &Matrix<Self>, ring: Ring<'_, Self>, lines: &mut [Self]);

    fn mean_columns(
        mean: &Mean<Self>,
        rows: &[&[Self]],
        first: usize,
        count: usize,
        lines: LinesMut<'_, Self>,
    );

    fn mean_rows(mean: &Mean<Self>, lines: Lines<'_, Self>, channels: usize, out: &mut [Self]);

    fn three_columns(
        mean: MeanOfThree<Self>,
        rows: &[&[Self]],
        first: usize,
        count: usize,
        lines: LinesMut<'_, Self>,
    );

    fn three_rows(
        mean: MeanOfThree<Self>,
        lines: Lines<'_, Self>,
        channels: usize,
        out: &mut [Self],
    );

    fn three_both(
        mean: MeanOfThree<Self>,
        rows: &[&[Self]],
        first: usize,
        lines: LinesMut<'_, Self>,
        channels: usize,
        out: &mut [Self],
    );
}

macro_rules! kernels {
    ($($float:ty)*) => {
        $(impl Kernels for $float {
            fn plan(definition: Definition) -> Plan<Self> {
                Plan::new(definition)
            }

            fn rows(
                plan: &Plan<Self>,
                rows: &mut [Self],
                real: &mut [Self],
                complex: &mut [Complex<Self>],
            ) {
                plan.process_rows(rows, real, complex);
            }

            fn lanes(plan: &Plan<Self>, arrays: &mut [Self], inner: usize, real: &mut [Self]) {
                plan.process_lanes(arrays, inner, real);
            }

            fn whole_blocks(matrix: &Matrix<Self>, strip: &mut [Self], channels: usize) {
                with_unrolled!(matrix, columns => Whole { columns, strip, channels }.dispatch());
            }

            fn tall_columns(matrix: &Matrix<Self>, strip: &mut [Self]) {
                with_unrolled!(matrix, columns => Tall { columns, strip }.dispatch());
            }

            fn filter_columns(
                filter: &Filter<Self>,
                rows: &[&[Self]],
                first: usize,
                out: &mut [Self],
            ) {
                FilterColumns { filter, rows, first, out }.dispatch();
            }

            fn filter_rows(
                filter: &Filter<Self>,
                line: &[Self],
                channels: usize,
                out: &mut [Self],
            ) {
                FilterRows { filter, line, channels, out }.dispatch();
            }

            fn filter_both(
                filter: &Filter<Self>,
                rows: &[&[Self]],
                first: usize,
                line: &mut [Self],
                channels: usize,
                out: &mut [Self],
            ) {
                FilterBoth { filter, rows, first, line, channels, out }.dispatch();
            }

            fn row(matrix: &Matrix<Self>, row: &[Self], channels: usize, lines: &mut [Self]) {
                with_columns!(matrix, columns => Row { columns, row, channels, lines }.dispatch());
            }

            fn keep_column(matrix: &Matrix<Self>, ring: Ring<'_, Self>, lines: &mut [Self]) {
                with_columns!(matrix, columns => KeepColumn { columns, ring, lines }.dispatch());
            }

            fn mean_columns(
                mean: &Mean<Self>,
                rows: &[&[Self]],
                first: usize,
                count: usize,
                lines: LinesMut<'_, Self>,
            ) {
                with_columns!(mean.matrix, columns => {
                    MeanColumns { columns, rows, first, count, lines }.dispatch()
                });
            }

            fn mean_rows(
                mean: &Mean<Self>,
                lines: Lines<'_, Self>,
                channels: usize,
                out: &mut [Self],
            ) {
                let measure = mean.measure;
                with_columns!(mean.matrix, columns => {
                    MeanRows { columns, measure, lines, channels, out }.dispatch()
                });
            }

            fn three_columns(
                mean: MeanOfThree<Self>,
                rows: &[&[Self]],
                first: usize,
                count: usize,
                lines: LinesMut<'_, Self>,
            ) {
                ThreeColumns { mean, rows, first, count, lines }.dispatch();
            }

            fn three_rows(
                mean: MeanOfThree<Self>,
                lines: Lines<'_, Self>,
                channels: usize,
                out: &mut [Self],
            ) {
                ThreeRows { mean, lines, channels, out }.dispatch();
            }

            fn three_both(
                mean: MeanOfThree<Self>,
                rows: &[&[Self]],
                first: usize,
                lines: LinesMut<'_, Self>,
                channels: usize,
                out: &mut [Self],
            ) {
                ThreeBoth { mean, rows, first, lines, channels, out }.dispatch();
            }
        })*
    };
}
kernels!(f32 f64);
