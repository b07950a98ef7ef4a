//! Runs parts of a training step on threads of their own: most operations of a small model use one thread.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

/// Gradients of the mean loss over the parts of a step, summed in a fixed order, and what each part
/// reports beside its loss.
pub(crate) fn backward<M, P, R>(
    student: &M,
    parts: &[P],
    loss: impl Fn(&M, &P) -> (Tensor<1>, R) + Sync,
) -> (GradientsParams, Vec<R>)
where
    M: Module,
    P: Sync,
    R: Send,
{
    let loss = &loss;
    let results: Vec<(GradientsParams, R)> = std::thread::scope(|scope| {
        let run = |part| {
            // Leaf tensors of its own: backward passes of graphs that share leaves cannot run at the same time.
            let student = student.valid().train();
            scope.spawn(move || {
                let (loss, report) = loss(&student, part);
                let loss = loss.div_scalar(parts.len() as f64);
                (GradientsParams::from_grads(loss.backward(), &student), report)
            })
        };
        let running: Vec<_> = parts.iter().map(run).collect();
        running
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    let mut sum = GradientsAccumulator::new();
    let mut reports = Vec::with_capacity(results.len());
    for (gradients, report) in results {
        sum.accumulate(student, gradients);
        reports.push(report);
    }
    (sum.grads(), reports)
}
