//! Against scipy.fft, numpy.fft and mpmath; `golden/generate.py` made the values.

use std::path::Path;

use dct::{
    DctType, Float, Normalization, Padding, Plan, Reduction, Sliding, block_dct_2d, block_fft_2d,
    block_idct_2d, block_ifft_2d, dct, dctn, idct, idctn, sliding_coefficients, sliding_fft_2d,
    sliding_map, sliding_reduce,
};
use ndarray::{Array1, ArrayD, Axis, Ix1, Ix3, Ix4, IxDyn};
use safetensors::SafeTensors;

/// Largest error over largest expected value, in f64: a few hundred roundings of 1e-16.
const DOUBLE: f64 = 5e-15;
/// The same for f32, whose roundings are 6e-8.
const SINGLE: f64 = 2e-6;

const TYPES: [DctType; 4] = [DctType::I, DctType::II, DctType::III, DctType::IV];
const NORMALIZATIONS: [(&str, Normalization); 3] = [
    ("ortho", Normalization::Ortho),
    ("backward", Normalization::Backward),
    ("forward", Normalization::Forward),
];

struct Golden(Vec<u8>);

impl Golden {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        Self(std::fs::read(folder.join(name)).expect("golden values are part of the repository"))
    }

    fn arrays(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).expect("a safetensors file")
    }

    fn get(&self, name: &str) -> ArrayD<f64> {
        let arrays = self.arrays();
        let tensor = arrays.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (values, rest) = tensor.data().as_chunks::<8>();
        assert!(rest.is_empty());
        let values = values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        ArrayD::from_shape_vec(IxDyn(tensor.shape()), values).expect("as many values")
    }
}

/// Both precisions have to agree with the expected values.
fn check<const N: usize>(
    name: &str,
    inputs: [&ArrayD<f64>; N],
    expected: &ArrayD<f64>,
    double: impl Fn([ArrayD<f64>; N]) -> ArrayD<f64>,
    single: impl Fn([ArrayD<f32>; N]) -> ArrayD<f32>,
) {
    close(name, &double(inputs.map(ArrayD::clone)), expected, DOUBLE);
    close(name, &single(inputs.map(|x| x.mapv(|x| x as f32))).mapv(f64::from), expected, SINGLE);
}

fn close(name: &str, actual: &ArrayD<f64>, expected: &ArrayD<f64>, tolerance: f64) {
    assert_eq!(actual.shape(), expected.shape(), "{name}");
    let scale = expected.iter().fold(1e-3_f64, |m, x| m.max(x.abs()));
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= tolerance * scale, "{name}: expected {e}, got {a}");
    }
}

macro_rules! check {
    ($name:expr, [$($input:expr),*], $expected:expr, |$x:pat_param| $call:expr) => {
        check($name, [$($input),*], $expected, |$x| $call, |$x| $call)
    };
}

#[test]
fn one_dimension() {
    let mut compared = 0;
    for file in ["forward", "inverse"] {
        let golden = Golden::open(&format!("{file}.safetensors"));
        for name in golden.arrays().names() {
            let [kind, norm, n] = name.split('/').collect::<Vec<_>>()[..] else { continue };
            let kind = TYPES[kind.parse::<usize>().unwrap() - 1];
            let (_, norm) = NORMALIZATIONS.into_iter().find(|(name, _)| *name == norm).unwrap();
            let x = golden.get(&format!("x/{n}"));
            let transform = format!("{file} {name}");
            if file == "forward" {
                check!(&transform, [&x], &golden.get(name), |[x]| dct(
                    x.view(),
                    kind,
                    Axis(0),
                    norm
                ));
            } else {
                check!(&transform, [&x], &golden.get(name), |[x]| idct(
                    x.view(),
                    kind,
                    Axis(0),
                    norm
                ));
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * 3 * (4 * 15 - 1));
}

#[test]
fn several_axes() {
    let golden = Golden::open("several_axes.safetensors");
    let x = golden.get("x");
    for (kind, type_number) in TYPES.into_iter().zip(1..) {
        for (norm_name, norm) in NORMALIZATIONS {
            for axes in ["01", "12", "02", "012"] {
                let name = format!("{type_number}/{norm_name}/{axes}");
                let axes = || axes.bytes().map(|digit| Axis((digit - b'0').into()));
                let expected = golden.get(&format!("dctn/{name}"));
                check!(&name, [&x], &expected, |[x]| dctn(x.view(), kind, axes(), norm));
                let expected = golden.get(&format!("idctn/{name}"));
                check!(&name, [&x], &expected, |[x]| idctn(x.view(), kind, axes(), norm));
            }
        }
    }
}

fn image<T: Clone>(x: ArrayD<T>) -> ndarray::Array3<T> {
    x.into_dimensionality::<Ix3>().expect("three axes")
}

#[test]
fn blocks() {
    let golden = Golden::open("blocks.safetensors");
    let x = golden.get("x");
    let mut compared = 0;
    for name in golden.arrays().names() {
        let [what, window, mode] = name.split('/').collect::<Vec<_>>()[..] else { continue };
        let p = window.parse::<usize>().unwrap();
        let expected = golden.get(name);
        compared += 1;
        if what == "dct" {
            let padding = padding(mode);
            check!(name, [&x], &expected, |[x]| {
                block_dct_2d(image(x).view(), p, padding).unwrap().into_dyn()
            });
            check!(name, [&expected], &padded(&x, &expected, p, padding), |[y]| {
                block_idct_2d(image(y).view(), p).unwrap().into_dyn()
            });
            continue;
        }
        check!(name, [&x], &expected, |[x]| {
            let (re, im) = block_fft_2d(image(x).view(), p, Padding::Reflect).unwrap();
            if mode == "re" { re.into_dyn() } else { im.into_dyn() }
        });
        let (re, im) = (golden.get(&format!("fft/{p}/re")), golden.get(&format!("fft/{p}/im")));
        check!(name, [&re, &im], &padded(&x, &expected, p, Padding::Reflect), |[re, im]| {
            block_ifft_2d(image(re).view(), image(im).view(), p).unwrap().into_dyn()
        });
    }
    assert_eq!(compared, 4 * 3 + 5 + 2 * 5);
}

/// What the inverse has to give back: the array, padded to the shape of its coefficients.
fn padded(x: &ArrayD<f64>, like: &ArrayD<f64>, p: usize, padding: Padding) -> ArrayD<f64> {
    let source = |i: usize, n: usize| match padding {
        _ if i < n => Some(i),
        Padding::Replicate => Some(n - 1),
        Padding::Reflect => Some(2 * (n - 1) - i),
        _ => None,
    };
    assert!(like.shape()[0] < x.shape()[0] + p);
    ArrayD::from_shape_fn(like.raw_dim(), |at| {
        let row = source(at[0], x.shape()[0]);
        row.zip(source(at[1], x.shape()[1])).map_or(0.0, |(i, j)| x[[i, j, at[2]]])
    })
}

fn padding(name: &str) -> Padding {
    match name {
        "none" => Padding::None,
        "zero" => Padding::Zero,
        "replicate" => Padding::Replicate,
        "reflect" => Padding::Reflect,
        other => panic!("padding {other}"),
    }
}

fn largest<T: Float>(coefficients: &[T]) -> T {
    coefficients.iter().fold(T::neg_infinity(), |m, &x| if x > m { x } else { m })
}

#[test]
fn sliding() {
    let golden = Golden::open("sliding.safetensors");
    let x = golden.get("x");
    let mut compared = 0;
    for name in golden.arrays().names() {
        let [what, window, mode, strides] = name.split('/').collect::<Vec<_>>()[..] else {
            continue;
        };
        let strides: Vec<usize> = strides.bytes().map(|digit| (digit - b'0').into()).collect();
        let windows = Sliding {
            window: window.parse().unwrap(),
            stride: [strides[0], strides[1]],
            padding: padding(mode),
        };
        let expected = golden.get(name);
        compared += 1;
        let reduction = match what {
            "mean" => Some(Reduction::Mean),
            "abs" => Some(Reduction::AbsMean),
            "power" => Some(Reduction::PowerMean),
            "log" => Some(Reduction::LogMean),
            _ => None,
        };
        if let Some(reduction) = reduction {
            check!(name, [&x], &expected, |[x]| {
                sliding_reduce(image(x).view(), &windows, reduction).into_dyn()
            });
            continue;
        }
        check!(name, [&x], &expected, |[x]| match what {
            "max" => sliding_map(image(x).view(), &windows, largest).into_dyn(),
            "all" => sliding_coefficients(image(x).view(), &windows).into_dyn(),
            "re" => sliding_fft_2d(image(x).view(), &windows).0.into_dyn(),
            "im" => sliding_fft_2d(image(x).view(), &windows).1.into_dyn(),
            other => panic!("{other}"),
        });
    }
    let cases = 4 * 3 + 6 + 2 * 3 * 2 + 4 * 2;
    let with_planes = 3 + 2 * 2 + 2 * 2;
    assert_eq!(compared, cases * 5 + with_planes * 3);
}

#[test]
fn thirty_digits() {
    let lines = Golden::open("thirty_digits.tsv").0;
    let lines = String::from_utf8(lines).unwrap();
    for line in lines.lines() {
        let [kind, n, k, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four fields: {line}")
        };
        let n: usize = n.parse().unwrap();
        let kind = TYPES[kind.parse::<usize>().unwrap() - 1];
        let mut x: Vec<f64> = (0..n).map(|i| 1.0 / (i + 1) as f64).collect();
        let plan = Plan::forward(kind, n, Normalization::Backward);
        plan.process(&mut x, &mut plan.scratch());
        let expected: f64 = expected.parse().unwrap();
        let actual = x[k.parse::<usize>().unwrap()];
        // the sum of the magnitudes of the terms is below 2 (1 + ln n) < 10: a few ulp of that
        assert!((actual - expected).abs() < 4e-15, "{line}: got {actual}");
    }
}

#[test]
fn shapes_without_channels_and_with_batches() {
    let golden = Golden::open("sliding.safetensors");
    let x = image(golden.get("x"));
    let windows = Sliding::new(3);
    let expected = image(golden.get("abs/3/replicate/11"));
    let plane = sliding_reduce(x.index_axis(Axis(2), 1), &windows, Reduction::AbsMean);
    let plane_expected = expected.index_axis(Axis(2), 1).to_owned();
    close("plane", &plane.into_dyn(), &plane_expected.into_dyn(), DOUBLE);
    let batch = ndarray::stack(Axis(0), &[x.view(), x.view()]).unwrap();
    let both = sliding_reduce(batch.view(), &windows, Reduction::AbsMean);
    let both: ndarray::Array<f64, Ix4> = both;
    for one in both.outer_iter() {
        close("batch", &one.to_owned().into_dyn(), &expected.clone().into_dyn(), DOUBLE);
    }
    let line: Array1<f64> = x.slice(ndarray::s![0, .., 0]).to_owned();
    let y = dct(line.view(), DctType::II, Axis(0), Normalization::None);
    assert_eq!(y, dct(line.view(), DctType::II, Axis(0), Normalization::Backward));
    let _: ndarray::Array<f64, Ix1> = y;
}
