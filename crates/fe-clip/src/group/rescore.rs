//! RsCIN: image scores averaged over images whose class tokens are similar.

use rayon::prelude::*;

/// Averages scores over the most similar images, the image itself among them, weighted by the
/// cosine of their class embeddings; the mean over the numbers of images in `counts`. In the unit of
/// the scores; without counts they stay what they are.
///
/// The original takes scores to [0, 1] first, by [`relative`]: since the weights of an average
/// sum to 1, that can as well be done afterwards.
///
/// # Shapes
/// - scores: one an image
/// - classes: a unit vector an image
pub fn rescored(scores: &[f32], classes: &[Vec<f32>], counts: &[usize]) -> Vec<f32> {
    assert!(scores.len() == classes.len(), "rescored: expected a class embedding a score");
    if counts.is_empty() {
        return scores.to_vec();
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let rescored = classes.par_iter().enumerate().map(|(i, class)| {
        let mut similar: Vec<(f64, f64)> = classes
            .iter()
            .zip(scores)
            .map(|(other, score)| (cosine(class, other), f64::from(*score)))
            .collect();
        // By score, too: the order of equally similar images must not depend on theirs.
        similar.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)));
        similar.truncate(most);
        let mean = |count: &usize| {
            let nearest = &similar[..similar.len().min(*count)];
            let weights: f64 = nearest.iter().map(|(weight, _)| weight).sum();
            let sum: f64 = nearest.iter().map(|(weight, score)| weight * score).sum();
            if weights == 0.0 { f64::from(scores[i]) } else { sum / weights }
        };
        (counts.iter().map(mean).sum::<f64>() / counts.len() as f64) as f32
    });
    rescored.collect()
}

/// Scores by their place between the group's lowest and highest, in [0, 1]; all 0 if all are equal.
pub fn relative(scores: &[f32]) -> Vec<f32> {
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = if high > low { high - low } else { 1.0 };
    scores.iter().map(|score| (score - low) / range).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
