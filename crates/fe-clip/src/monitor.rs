//! Whether a stream of normal images still looks like those of a calibration: a conformal test
//! martingale.
//!
//! If the stream is exchangeable with the calibration, the rank of each new score among all before
//! it is uniform, and independent of the ranks before. A gambler who bets against that with a
//! capital of 1 reaches `1 / rate` at any time at all with a probability of at most `rate`
//! (Ville's inequality): the rate is one for the whole stream, however long.
//!
//! Source: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman, Retrain or not retrain:
//! conformal test martingales for change-point detection, 2021, Algorithm 1.

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Error;
use crate::calibrate::Calibration;

/// How often the gamblers change their mind. One that does so seldom is still rich when a stream
/// changes late, one that does so often is quick; the mean of their capitals is a martingale, too.
const RATES: [f64; 6] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];
/// Of the draws among equal scores, so that a stream watched again gives the same numbers.
const SEED: u64 = 24;

/// Watches image scores.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Only what lies below is watched: the calibration's threshold.
    below: f32,
    /// Scores of the calibration and of the stream below it, the smallest first.
    seen: Vec<f32>,
    draws: ChaCha8Rng,
    gamblers: [Jumper; RATES.len()],
    /// Logarithm of the capital that is evidence enough.
    enough: f64,
    watched: u64,
    lowest: f64,
    began: u64,
    drift: bool,
}

/// What a monitor says of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Rank of its score among all so far, in [0, 1], 0 for the highest; uniform without drift.
    /// Absent for an image that is not watched.
    pub p_value: Option<f64>,
    /// The evidence so far.
    pub log10_martingale: f64,
    /// Whether there was evidence enough up to here.
    pub drift: bool,
    /// Which watched image it is, counted from 1; of an image that is not, how many there were.
    pub watched: u64,
    /// The first watched image since the evidence was least: where a drift would have begun.
    pub began: u64,
}

impl Monitor {
    /// A monitor that says with a probability of at most `false_alarm_rate` that there is a drift
    /// where there is none.
    ///
    /// Only images that score below the calibration's threshold are watched: defects are no drift.
    /// What is kept of the calibration is what it has below its threshold. Given the threshold,
    /// these scores and those to come are drawn from one distribution, so nothing is lost.
    ///
    /// # Errors
    /// If the calibration kept nothing of its images; `path` is its file.
    ///
    /// # Panics
    /// If the rate is not in (0, 1).
    pub fn new(
        calibration: &Calibration,
        false_alarm_rate: f64,
        path: &Path,
    ) -> Result<Self, Error> {
        if calibration.normals.is_empty() {
            let reason = "keeps no scores of its images: nothing can be compared with them; \
                          calibrate again";
            return Err(Error::invalid(path, reason));
        }
        let scores = calibration.normals.iter().map(|normal| normal.image).collect();
        Ok(Self::of(scores, calibration.image.threshold, false_alarm_rate))
    }

    fn of(mut scores: Vec<f32>, below: f32, false_alarm_rate: f64) -> Self {
        assert!(
            false_alarm_rate > 0.0 && false_alarm_rate < 1.0,
            "monitor: expected a rate in (0, 1), got {false_alarm_rate}"
        );
        scores.retain(|score| *score < below);
        scores.sort_by(f32::total_cmp);
        Self {
            below,
            seen: scores,
            draws: ChaCha8Rng::seed_from_u64(SEED),
            gamblers: RATES.map(Jumper::new),
            enough: -false_alarm_rate.ln(),
            watched: 0,
            lowest: 0.0,
            began: 1,
            drift: false,
        }
    }

    /// Takes the next image's raw score. It keeps four bytes of each that is watched.
    pub fn observe(&mut self, raw_score: f32) -> Reading {
        let watched = raw_score < self.below;
        let p_value = watched.then(|| {
            let draw = self.draws.random();
            self.step(raw_score, draw)
        });
        Reading {
            p_value,
            log10_martingale: self.capital() / std::f64::consts::LN_10,
            drift: self.drift,
            watched: self.watched,
            began: self.began,
        }
    }

    /// Bets on a score; `draw`, in [0, 1), is its place among its equals.
    fn step(&mut self, score: f32, draw: f64) -> f64 {
        let first = self.seen.partition_point(|seen| *seen < score);
        let after = self.seen.partition_point(|seen| *seen <= score);
        let (above, equal) = (self.seen.len() - after, after - first + 1);
        let all = self.seen.len() + 1;
        self.seen.insert(after, score);
        let p_value = (above as f64 + draw * equal as f64) / all as f64;
        self.gamblers.iter_mut().for_each(|gambler| gambler.bet(p_value));
        self.watched += 1;
        let capital = self.capital();
        if capital <= self.lowest {
            (self.lowest, self.began) = (capital, self.watched + 1);
        }
        self.drift |= capital >= self.enough;
        p_value
    }

    /// Logarithm of the mean capital.
    fn capital(&self) -> f64 {
        let richest = self.gamblers.iter().map(|g| g.capital).fold(f64::MIN, f64::max);
        let sum: f64 = self.gamblers.iter().map(|g| (g.capital - richest).exp()).sum();
        richest + (sum / RATES.len() as f64).ln()
    }
}

/// The Simple Jumper: a part of the capital bets on high p-values, a part on low ones, a part not
/// at all, and some of each part changes its mind before each bet.
#[derive(Debug, Clone)]
struct Jumper {
    rate: f64,
    /// Shares of the parts: low, none, high.
    shares: [f64; 3],
    /// Logarithm of all of it.
    capital: f64,
}

impl Jumper {
    fn new(rate: f64) -> Self {
        Self { rate, shares: [1.0 / 3.0; 3], capital: 0.0 }
    }

    fn bet(&mut self, p_value: f64) {
        for (share, slope) in self.shares.iter_mut().zip([-1.0, 0.0, 1.0]) {
            *share = (1.0 - self.rate) * *share + self.rate / 3.0;
            *share *= 1.0 + slope * (p_value - 0.5);
        }
        let gain: f64 = self.shares.iter().sum();
        self.shares.iter_mut().for_each(|share| *share /= gain);
        self.capital += gain.ln();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stderr)]

    use serde_json::Value;

    use super::*;

    /// Rounding of some hundred products in double precision, in another order.
    const TOLERANCE: f64 = 1e-11;

    #[test]
    fn numbers_are_those_of_the_literal_transcription() {
        let golden: Value =
            serde_json::from_str(include_str!("../tests/golden_monitor/monitor.json")).unwrap();
        let cases = golden["cases"].as_object().unwrap();
        assert_eq!(cases.len(), 4);
        for (name, case) in cases {
            let numbers = |key: &str| -> Vec<f64> {
                case[key].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
            };
            let singles = |key| numbers(key).into_iter().map(|n| n as f32).collect::<Vec<f32>>();
            let mut monitor = Monitor::of(singles("calibration"), f32::INFINITY, 0.01);
            let (p_values, expected) = (numbers("p_values"), numbers("log10_martingale"));
            let stream = singles("stream").into_iter().zip(numbers("thetas"));
            for (at, (score, draw)) in stream.enumerate() {
                let p_value = monitor.step(score, draw);
                assert!((p_value - p_values[at]).abs() < TOLERANCE, "{name} {at}");
                let found = monitor.capital() / std::f64::consts::LN_10;
                assert!((found - expected[at]).abs() < TOLERANCE, "{name} {at}: {found}");
            }
            let most = expected.iter().copied().fold(f64::MIN, f64::max);
            assert_eq!(monitor.drift, most >= 2.0, "{name}");
        }
    }

    /// A draw from the standard normal distribution.
    fn normal(random: &mut ChaCha8Rng) -> f32 {
        let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// A calibration at a rate of 0.05 on so many images.
    fn calibrated(random: &mut ChaCha8Rng, images: usize) -> Monitor {
        let scores: Vec<f32> = (0..images).map(|_| normal(random)).collect();
        let rank = crate::calibration_rank(images, 0.05).unwrap();
        let mut sorted = scores.clone();
        sorted.sort_by(f32::total_cmp);
        Monitor::of(scores, sorted[rank - 1], 0.01)
    }

    /// Observes a normal image.
    fn look(monitor: &mut Monitor, random: &mut ChaCha8Rng) {
        monitor.observe(normal(random));
    }

    #[test]
    fn exchangeable_streams_alarm_no_oftener_than_the_rate() {
        const STREAMS: u64 = 2000;
        for images in [19, 100] {
            let alarms = (0..STREAMS).filter(|seed| {
                let mut random = ChaCha8Rng::seed_from_u64(*seed);
                let mut monitor = calibrated(&mut random, images);
                (0..1000).any(|_| monitor.observe(normal(&mut random)).drift)
            });
            let alarms = alarms.count();
            eprintln!("{images} images calibrate: {alarms} of {STREAMS} streams alarm");
            // 20 are promised at most; three standard deviations of that.
            assert!(alarms <= 20 + 13, "{images}: {alarms}");
        }
    }

    /// By one standard deviation, after so many images without a shift.
    #[test]
    fn a_shift_of_the_mean_is_found_and_where_it_began() {
        for (images, before, most) in [(100, 0, 200), (100, 500, 250), (400, 20_000, 300)] {
            let mut took = Vec::new();
            let mut off = Vec::new();
            for seed in 0..100 {
                let mut random = ChaCha8Rng::seed_from_u64(1000 + seed);
                let mut monitor = calibrated(&mut random, images);
                (0..before).for_each(|_| look(&mut monitor, &mut random));
                let start = monitor.watched;
                if monitor.drift {
                    continue; // a false alarm
                }
                let mut shifted = 0;
                let reading = loop {
                    let reading = monitor.observe(normal(&mut random) + 1.0);
                    shifted += 1;
                    if reading.drift || shifted > 10 * most {
                        break reading;
                    }
                };
                took.push(shifted);
                off.push(reading.began.abs_diff(start + 1));
            }
            took.sort_unstable();
            off.sort_unstable();
            let at = |sorted: &[u64], share: usize| sorted[sorted.len() * share / 100];
            let took: Vec<u64> = took.into_iter().map(|n| n as u64).collect();
            eprintln!(
                "{images} images calibrate, {before} before: found after {} (median), {} (90 %), {} (all); \
                 the start is off by {} (median), {} (90 %)",
                at(&took, 50),
                at(&took, 90),
                took[took.len() - 1],
                at(&off, 50),
                at(&off, 90)
            );
            assert!(took.len() >= 95 && took[took.len() - 1] <= most as u64, "{took:?}");
        }
    }

    #[test]
    fn defects_are_not_watched() {
        let mut monitor = Monitor::of(vec![0.1, 0.2, 0.3, 0.4], 0.4, 0.01);
        for _ in 0..1000 {
            let Reading { p_value, log10_martingale, drift, watched, .. } = monitor.observe(0.9);
            assert_eq!((p_value, log10_martingale, drift, watched), (None, 0.0, false, 0));
        }
        assert!(monitor.observe(0.39).p_value.is_some_and(|p| p <= 0.25));
    }
}
