//! What must hold for any input: invariance under monotone maps, order, merging and threads; undefined cases.

#![allow(clippy::unwrap_used)]

use anomaly_metrics::{
    AuproOptions, Bounded, Connectivity, ImageRegions, PixelHistogram, PixelMetrics, PixelReport,
    Score, Undefined, aupro, aupro_peer, auroc, average_precision, f1_max, pro_curve, roc_curve,
};
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView3, Axis, array, concatenate, s};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LIMITS: [f64; 3] = [0.3, 0.01, 1.0];

fn report<S: Score>(maps: ArrayView3<'_, S>, masks: ArrayView3<'_, bool>) -> PixelReport {
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    pixels.add_all(maps, masks).unwrap();
    pixels.finish(&LIMITS).unwrap()
}

fn f1(scores: ArrayView1<'_, f32>, labels: ArrayView1<'_, bool>) -> Result<f64, Undefined> {
    Ok(f1_max(scores, labels)?.value)
}

/// The numbers of a report without what depends on the scale of the scores.
fn of_order(report: &PixelReport) -> Vec<f64> {
    let mut values = vec![report.auroc.clone().unwrap()];
    values.push(report.average_precision.clone().unwrap());
    values.push(report.f1_max.clone().unwrap().value);
    values.extend(report.aupro.iter().map(|value| value.clone().unwrap()));
    values.extend(report.regions.iter().flat_map(|region| region.aupro.clone()));
    values
}

/// Maps large enough for pages with tables, lists and carries.
fn large(images: usize) -> (Array3<f32>, Array3<bool>) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut masks = Array3::default((images, 300, 400));
    for image in 0..images - 1 {
        for _ in 0..20 {
            let (top, left) = (rng.random_range(0..290), rng.random_range(0..390));
            masks
                .slice_mut(s![image, top..top + 9, left..left + rng.random_range(1..10)])
                .fill(true);
        }
    }
    let maps = masks.mapv(|anomalous| {
        let score: f32 = rng.random::<f32>() * if anomalous { 1.0 } else { 0.9 };
        match rng.random_range(0..4) {
            0 => 0.25,               // a heavy tie
            1 => score.powi(30),     // many decades
            2 => score * 0.01 + 0.5, // dense
            _ => score,
        }
    });
    (maps, masks)
}

#[test]
fn single_and_double_precision_agree() {
    // The two count in different ways.
    let (maps, masks) = large(7);
    let single = report(maps.view(), masks.view());
    assert_eq!(single, report(maps.mapv(f64::from).view(), masks.view()));
    assert_eq!(single.regions.len(), report(maps.view(), masks.view()).regions.len());
}

#[test]
fn monotone_maps_change_nothing() {
    let (maps, masks) = large(3);
    let expected = of_order(&report(maps.view(), masks.view()));
    let doubles = maps.mapv(f64::from);
    // None of these merges two single-precision scores.
    for map in [f64::cbrt, |x| 1e-30 * x, f64::sqrt, f64::atan, |x| x / (1.0 + x)] {
        let mapped = doubles.mapv(map);
        assert_eq!(of_order(&report(mapped.view(), masks.view())), expected);
    }
}

#[test]
fn neither_order_nor_shards_nor_threads_change_a_bit() {
    let (maps, masks) = large(7);
    let whole = report(maps.view(), masks.view());
    let totals = |report: &PixelReport| {
        let (best, peer) = (report.f1_max.clone(), report.aupro_peer.clone());
        (report.auroc.clone(), report.average_precision.clone(), best, report.aupro.clone(), peer)
    };

    let order = [4usize, 0, 6, 2, 5, 1, 3];
    let (mixed, mixed_masks) = (maps.select(Axis(0), &order), masks.select(Axis(0), &order));
    assert_eq!(totals(&report(mixed.view(), mixed_masks.view())), totals(&whole));

    for cut in [1, 3, 6] {
        let mut shards =
            [PixelMetrics::new(Connectivity::Eight), PixelMetrics::new(Connectivity::Eight)];
        for (index, (map, mask)) in maps.outer_iter().zip(masks.outer_iter()).enumerate() {
            shards[usize::from(index >= cut)].add(map, mask).unwrap();
        }
        let [mut first, second] = shards;
        first.merge(second);
        assert_eq!(first.finish(&LIMITS).unwrap(), whole);
    }

    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| report(maps.view(), masks.view())), whole);
    }
}

#[test]
fn small_images_together_are_as_one_by_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    // In one piece and in several; the images of a piece touch in memory, their regions must not.
    for (images, height, width) in [(1, 8, 8), (30, 8, 8), (5000, 7, 9), (400, 33, 17)] {
        let shape = (images, height, width);
        let masks = Array3::from_shape_simple_fn(shape, || rng.random_bool(0.2));
        let maps =
            masks.mapv(|pixel| rng.random_range(0..1000) as f32 + f32::from(u8::from(pixel)));
        let mut pixels = PixelMetrics::new(Connectivity::Eight);
        for (map, mask) in maps.outer_iter().zip(masks.outer_iter()) {
            pixels.add(map, mask).unwrap();
        }
        let single = pixels.finish(&LIMITS).unwrap();
        assert_eq!(report(maps.view(), masks.view()), single);
        let reversed = (maps.slice(s![.., .., ..;-1]), masks.slice(s![.., .., ..;-1]));
        assert_eq!(of_order(&report(reversed.0, reversed.1))[..6], of_order(&single)[..6]);

        let mut broken = maps.clone();
        broken[[images / 2, height - 1, 2]] = f32::NAN;
        let error = PixelMetrics::new(Connectivity::Eight).add_all(broken.view(), masks.view());
        assert_eq!(error, Err(Undefined::NotANumber { index: vec![images / 2, height - 1, 2] }));
    }
}

#[test]
fn histograms_keep_their_promise() {
    let (maps, masks) = large(4);
    let exact = report(maps.view(), masks.view());
    let exact = [exact.auroc, exact.average_precision, exact.f1_max.map(|best| best.value)]
        .into_iter()
        .chain(exact.aupro)
        .map(Result::unwrap);
    let exact: Vec<f64> = exact.collect();
    // From one bin for all scores to a good fit.
    let mut errors = Vec::new();
    for (lowest, highest) in [(2.0, 3.0), (-1e9, 1e9), (-100.0, 100.0), (0.4, 0.6), (0.0, 1.0)] {
        let empty = PixelHistogram::new(Connectivity::Eight, lowest, highest);
        let (mut first, mut second) = (empty.clone(), empty.clone());
        let mut whole = empty;
        for (image, (map, mask)) in maps.outer_iter().zip(masks.outer_iter()).enumerate() {
            whole.add(map, mask).unwrap();
            if image % 2 == 0 { &mut second } else { &mut first }.add(map, mask).unwrap();
        }
        first.merge(&second);
        let report = whole.finish(&LIMITS).unwrap();
        assert_eq!(first.finish(&LIMITS).unwrap(), report);
        let bounded = [report.auroc, report.average_precision, report.f1_max];
        let bounded: Vec<Bounded> =
            bounded.into_iter().chain(report.aupro).map(Result::unwrap).collect();
        for (index, (exact, bounded)) in exact.iter().zip(&bounded).enumerate() {
            let distance = (exact - bounded.value).abs();
            assert!(distance <= bounded.error, "{index}: {exact} is {distance} from {bounded:?}");
        }
        errors.push(bounded[0].error);
    }
    assert!(errors[0] > 0.4 && errors.last().is_some_and(|&error| error < 0.05), "{errors:?}");
}

#[test]
fn histograms_are_exact_where_every_bin_holds_one_score() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let masks = Array3::from_shape_simple_fn((2, 40, 50), || rng.random_bool(0.1));
    let maps = masks.mapv(|mask| rng.random_range(0..200) as f32 + if mask { 56.0 } else { 0.0 });
    let exact = report(maps.view(), masks.view());
    let mut histogram = PixelHistogram::new(Connectivity::Eight, 0.0, 256.0);
    for (map, mask) in maps.outer_iter().zip(masks.outer_iter()) {
        histogram.add(map, mask).unwrap();
    }
    let report = histogram.finish(&LIMITS).unwrap();
    let close = |bounded: Result<Bounded, Undefined>, exact: f64| {
        let value = bounded.unwrap().value;
        assert!((value - exact).abs() < 1e-9, "{value} {exact}");
    };
    close(report.auroc, exact.auroc.unwrap());
    close(report.average_precision, exact.average_precision.unwrap());
    let best = exact.f1_max.unwrap();
    close(report.f1_max, best.value);
    assert_eq!(report.f1_max_threshold, Ok(best.threshold));
    for (bounded, exact) in report.aupro.into_iter().zip(exact.aupro) {
        close(bounded, exact.unwrap());
    }
}

#[test]
fn regions_say_which_defect_is_missed() {
    let mask = array![[true, true, false, false, true], [false, false, false, false, false]];
    let map = array![[0.9f32, 0.8, 0.1, 0.2, 0.0], [0.3, 0.1, 0.2, 0.1, 0.3]];
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    pixels.add(Array2::zeros((3, 3)).view(), Array2::default((3, 3)).view()).unwrap();
    pixels.add(map.view(), mask.view()).unwrap();
    let report = pixels.finish(&[0.3]).unwrap();
    let found: Vec<_> = report.regions.iter().map(|r| (r.image, r.start, r.area)).collect();
    assert_eq!(found, [(1, (0, 0), 2), (1, (0, 4), 1)]);
    assert_eq!(report.regions[0].aupro, [1.0]);
    assert_eq!(report.regions[1].aupro, [0.0]);
    assert_eq!(report.aupro, [Ok(0.5)]);
    let by_image = [ImageRegions { image: 1, regions: 2, aupro: vec![0.5] }];
    assert_eq!(report.by_image(), by_image);
}

#[test]
fn images_add_up_to_aupro() {
    let (maps, masks) = large(4);
    let report = report(maps.view(), masks.view());
    let images = report.by_image();
    assert_eq!(images.len(), 3); // the last image is normal
    assert_eq!(images.iter().map(|image| image.regions).sum::<usize>(), report.regions.len());
    for (limit, aupro) in report.aupro.iter().enumerate() {
        let weighted = images.iter().map(|image| image.regions as f64 * image.aupro[limit]);
        let mean = weighted.sum::<f64>() / report.regions.len() as f64;
        assert!((mean - aupro.clone().unwrap()).abs() < 1e-12);
    }
}

#[test]
fn undefined_is_said() {
    let (scores, none) = (array![0.1f32, 0.2], array![false, false]);
    let all = array![true, true];
    for metric in [auroc::<f32>, average_precision::<f32>, f1] {
        assert_eq!(metric(scores.view(), none.view()), Err(Undefined::OnlyNormal));
        assert_eq!(metric(scores.view(), all.view()), Err(Undefined::OnlyAnomalous));
        assert_eq!(
            metric(Array1::zeros(0).view(), Array1::default(0).view()),
            Err(Undefined::Empty)
        );
        let nan = array![0.0, f32::NAN];
        let labels = array![true, false];
        assert_eq!(
            metric(nan.view(), labels.view()),
            Err(Undefined::NotANumber { index: vec![1] })
        );
        let shapes = Undefined::ShapeMismatch { scores: vec![2], labels: vec![3] };
        assert_eq!(metric(scores.view(), Array1::default(3).view()), Err(shapes));
    }

    let maps = Array3::<f64>::zeros((2, 3, 4));
    let (none, all) = (Array3::default((2, 3, 4)), Array3::from_elem((2, 3, 4), true));
    let options = AuproOptions::default();
    let both = |maps: &Array3<f64>, masks: &Array3<bool>| {
        let exact = aupro(maps.view(), masks.view(), options);
        assert_eq!(aupro_peer(maps.view(), masks.view()), exact);
        let curve = pro_curve(maps.view(), masks.view(), Connectivity::Eight);
        assert_eq!(curve.map(|_| 0.0), exact);
        exact.unwrap_err()
    };
    assert_eq!(both(&maps, &none), Undefined::NoRegion);
    assert_eq!(both(&maps, &all), Undefined::OnlyAnomalous);
    assert_eq!(both(&Array3::zeros((0, 3, 4)), &Array3::default((0, 3, 4))), Undefined::Empty);
    assert_eq!(both(&Array3::zeros((2, 0, 4)), &Array3::default((2, 0, 4))), Undefined::Empty);
    let mut nan = maps.clone();
    nan[(1, 2, 3)] = f64::NAN;
    assert_eq!(both(&nan, &none), Undefined::NotANumber { index: vec![1, 2, 3] });
    let shapes = Undefined::ShapeMismatch { scores: vec![2, 3, 4], labels: vec![2, 4, 3] };
    assert_eq!(both(&maps, &Array3::default((2, 4, 3))), shapes);
    for max_fpr in [0.0, -0.1, 1.1, f64::NAN] {
        let limit = aupro(maps.view(), all.view(), AuproOptions { max_fpr, ..options });
        assert!(matches!(limit, Err(Undefined::Limit(_))), "{limit:?}");
    }
    let mut masks = none;
    masks[(0, 0, 0)] = true;
    assert_eq!(aupro_peer(maps.view(), masks.view()), Err(Undefined::NoPeerCurve));
    assert_eq!(aupro(maps.view(), masks.view(), options), Ok(0.15)); // constant scores: half the limit, by the diagonal
}

#[test]
fn a_refused_image_leaves_no_trace() {
    let (maps, masks) = large(2);
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    for (map, mask) in maps.outer_iter().zip(masks.outer_iter()) {
        let mut bad = map.to_owned();
        bad[(299, 399)] = f32::NAN;
        pixels.add(bad.view(), mask).unwrap_err();
        pixels.add(map, mask).unwrap();
        pixels.add(map, mask.slice(s![1.., ..])).unwrap_err();
    }
    assert_eq!(pixels.finish(&LIMITS).unwrap(), report(maps.view(), masks.view()));
}

#[test]
fn views_of_any_layout_are_read_right() {
    let (maps, masks) = large(3);
    let expected = report(maps.view(), masks.view());
    let mut wide = Array3::zeros((3, 400, 600));
    let mut wide_masks = Array3::default((3, 400, 600));
    wide.slice_mut(s![.., .., 1..;2]).assign(&maps.view().permuted_axes([0, 2, 1]));
    wide_masks.slice_mut(s![.., .., 1..;2]).assign(&masks.view().permuted_axes([0, 2, 1]));
    let seen = wide.slice(s![.., .., 1..;2]).permuted_axes([0, 2, 1]).to_owned();
    assert_eq!(seen, maps);
    let view = wide.slice(s![.., .., 1..;2]);
    let mask_view = wide_masks.slice(s![.., .., 1..;2]);
    let strided = report(view.permuted_axes([0, 2, 1]), mask_view.permuted_axes([0, 2, 1]));
    assert_eq!(strided, expected);
}

proptest! {
    /// Every pair of an anomalous and a normal score, one by one.
    #[test]
    fn auroc_counts_pairs(pairs in prop::collection::vec((-3i8..4, any::<bool>()), 1..60)) {
        let scores = Array1::from_iter(pairs.iter().map(|&(score, _)| f32::from(score) / 2.0));
        let labels = Array1::from_iter(pairs.iter().map(|&(_, label)| label));
        let of = |label| pairs.iter().filter(move |&&(_, other)| other == label).map(|&(score, _)| score);
        let mut halves = 0;
        for anomalous in of(true) {
            halves += of(false).map(|normal| 1 + (anomalous - normal).signum()).map(u32::try_from).map(Result::unwrap).sum::<u32>();
        }
        let all = of(true).count() * of(false).count();
        match auroc(scores.view(), labels.view()) {
            Ok(value) => prop_assert_eq!(value, f64::from(halves) / (2 * all) as f64),
            Err(_) => prop_assert_eq!(all, 0),
        }
    }

    /// Swapping the classes and the sign of the scores is the same question.
    #[test]
    fn auroc_is_symmetric(pairs in prop::collection::vec((any::<f32>().prop_filter("a number", |x| !x.is_nan()), any::<bool>()), 2..60)) {
        let scores = Array1::from_iter(pairs.iter().map(|&(score, _)| score));
        let labels = Array1::from_iter(pairs.iter().map(|&(_, label)| label));
        let swapped = auroc((-&scores).view(), labels.mapv(|label| !label).view());
        let value = auroc(scores.view(), labels.view());
        prop_assert_eq!(value.is_ok(), swapped.is_ok());
        if let (Ok(value), Ok(swapped)) = (value, swapped) {
            prop_assert_eq!(value, swapped);
            let curve = roc_curve(scores.view(), labels.view()).unwrap();
            prop_assert!(curve.x.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!((curve.x.last(), curve.y.last()), (Some(&1.0), Some(&1.0)));
        }
    }

    /// AUPRO is the mean over the regions, and more than one image is no different from one wide image.
    #[test]
    fn aupro_averages_regions(seed in any::<u64>()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let maps = Array3::from_shape_simple_fn((2, 6, 9), || rng.random_range(0..12) as f32);
        let masks = Array3::from_shape_simple_fn((2, 6, 9), || rng.random_bool(0.25));
        let whole = report(maps.view(), masks.view());
        prop_assume!(whole.auroc.is_ok());
        for (index, value) in whole.aupro.iter().enumerate() {
            let mean = whole.regions.iter().map(|r| r.aupro[index]).sum::<f64>() / whole.regions.len() as f64;
            prop_assert!((value.clone().unwrap() - mean).abs() < 1e-12);
        }
        // Side by side with a normal column in between, whose score is below all others.
        let column = |value: f32| Array2::from_elem((6, 1), value);
        let wide = concatenate![Axis(1), maps.index_axis(Axis(0), 0), column(-1.0), maps.index_axis(Axis(0), 1)];
        let gap = Array2::default((6, 1));
        let wide_masks = concatenate![Axis(1), masks.index_axis(Axis(0), 0), gap, masks.index_axis(Axis(0), 1)];
        let mut pixels = PixelMetrics::new(Connectivity::Eight);
        pixels.add(wide.view(), wide_masks.view()).unwrap();
        let pairs = |auroc: &Result<f64, Undefined>, normal: usize| auroc.clone().unwrap() * normal as f64;
        let normal = masks.iter().filter(|&&pixel| !pixel).count();
        let joined = pixels.finish(&LIMITS).unwrap();
        prop_assert!((pairs(&joined.auroc, normal + 6) - pairs(&whole.auroc, normal) - 6.0).abs() < 1e-9);
        prop_assert_eq!(joined.regions.len(), whole.regions.len());
    }
}

/// What is ignored might as well not be there.
#[test]
fn ignoring_all_around_a_part_is_cropping_to_it() {
    let (maps, masks) = large(3);
    let (mut without, mut cropped) =
        (PixelMetrics::new(Connectivity::Eight), PixelMetrics::new(Connectivity::Eight));
    let part = s![40..250, 30..333];
    let mut ignored = Array2::from_elem((300, 400), true);
    ignored.slice_mut(part).fill(false);
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for (map, mask) in maps.axis_iter(Axis(0)).zip(masks.axis_iter(Axis(0))) {
        // A score beyond all others, and a number that is none, where nobody looks.
        let mut map = map.to_owned();
        (map[[0, 0]], map[[299, 399]]) = (9.0, f32::NAN);
        without.add_without(map.view(), mask, ignored.view()).unwrap();
        let (map, mask) = (map.slice(part), mask.slice(part));
        cropped.add(map, mask).unwrap();
        scores.extend(map.iter().copied());
        labels.extend(mask.iter().copied());
    }
    let (mut without, cropped) =
        (without.finish(&LIMITS).unwrap(), cropped.finish(&LIMITS).unwrap());
    for region in &mut without.regions {
        region.start = (region.start.0 - 40, region.start.1 - 30);
    }
    assert_eq!(without, cropped);
    let (scores, labels) = (Array1::from(scores), Array1::from(labels));
    assert_eq!(without.auroc, auroc(scores.view(), labels.view()));
    let mut pixels = PixelMetrics::new(Connectivity::Eight);
    let nan = array![[0.5, f32::NAN]];
    let found =
        pixels.add_without(nan.view(), array![[false, true]].view(), array![[true, false]].view());
    assert_eq!(found, Err(Undefined::NotANumber { index: vec![0, 0, 1] }));
}
