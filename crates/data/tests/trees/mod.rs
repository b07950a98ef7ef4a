//! A tiny tree of each layout, for the tests of this crate and of the program.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

/// A folder that goes with the value.
pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn text(self, path: &str, text: &str) -> Self {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
        self
    }

    /// Images of 8 x 6 pixels, black or white each in its own way, which JPEG leaves them.
    pub(crate) fn images(self, paths: &[&str]) -> Self {
        for path in paths {
            let mix = |sum: u64, byte: u8| {
                (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
            };
            let bits = path.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
            let level = |x, y| if bits >> (8 * y + x) & 1 == 1 { 255 } else { 0 };
            self.save(path, RgbImage::from_fn(8, 6, |x, y| Rgb([level(x, y); 3])).into());
        }
        self
    }

    /// Masks of 8 x 6 pixels with a rectangle set.
    pub(crate) fn masks(self, paths: &[&str]) -> Self {
        for path in paths {
            let inside = |x, y| (2..6).contains(&x) && (2..5).contains(&y);
            let mask = GrayImage::from_fn(8, 6, |x, y| Luma([if inside(x, y) { 255 } else { 0 }]));
            self.save(path, mask.into());
        }
        self
    }

    fn save(&self, path: &str, image: DynamicImage) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.save(path).unwrap();
    }
}

/// `bottle` with train 2, test 1 + 2 and masks of both; `wood` with train 1, test 1.
pub(crate) fn mvtec() -> Tree {
    Tree::new()
        .images(&[
            "bottle/train/good/000.png",
            "bottle/train/good/007.png",
            "bottle/test/good/003.png",
        ])
        .images(&["bottle/test/crack/001.png", "bottle/test/crack/010.png"])
        .masks(&[
            "bottle/ground_truth/crack/001_mask.png",
            "bottle/ground_truth/crack/010_mask.png",
        ])
        .text("bottle/license.txt", "-")
        .images(&["wood/train/good/000.png", "wood/test/good/000.png"])
}

/// As distributed, with an image that is not listed, one that is missing and a mask that is missing.
pub(crate) fn visa() -> Tree {
    let table = "object,split,label,image,mask\r\n\
        candle,train,normal,candle/Data/Images/Normal/0000.JPG,\r\n\
        candle,test,normal,candle/Data/Images/Normal/0001.JPG,\r\n\
        candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png\r\n\
        candle,test,anomaly,candle/Data/Images/Anomaly/001.JPG,candle/Data/Masks/Anomaly/001.png\r\n\
        candle,test,normal,candle/Data/Images/Normal/0002.JPG,\r\n";
    Tree::new()
        .text("split_csv/1cls.csv", table)
        .images(&["candle/Data/Images/Normal/0000.JPG", "candle/Data/Images/Normal/0001.JPG"])
        .images(&["candle/Data/Images/Anomaly/000.JPG", "candle/Data/Images/Anomaly/001.JPG"])
        .images(&["candle/Data/Images/Normal/0009.JPG"])
        .masks(&["candle/Data/Masks/Anomaly/000.png"])
}

/// As converters write it.
pub(crate) fn visa_converted() -> Tree {
    Tree::new()
        .images(&["pcb1/train/good/0.JPG", "pcb1/test/good/1.JPG", "pcb1/test/bad/000.JPG"])
        .masks(&["pcb1/ground_truth/bad/000.png"])
}

pub(crate) fn btad() -> Tree {
    Tree::new()
        .images(&["01/train/ok/0000.bmp", "01/test/ok/0001.bmp", "01/test/ko/0000.bmp"])
        .masks(&["01/ground_truth/ko/0000.png", "01/ground_truth/ok/0001.png"])
        .images(&["03/train/ok/0000.BMP", "03/test/ok/0001.bmp", "03/test/ko/0005.bmp"])
        .masks(&["03/ground_truth/ko/0005.bmp"])
}

/// `Class1` with a mask missing, an image not listed and one missing; `Class2` nested, without `Train` and list.
pub(crate) fn dagm() -> Tree {
    let line = |n: &str, flag: bool| match flag {
        true => format!("{n}\t1\t{n}.PNG\t0\t{n}_label.PNG\r\n"),
        false => format!("{n}\t0\t{n}.PNG\t0\t0\t\r\n"),
    };
    let test = format!(
        "1\r\n{}{}{}{}",
        line("0001", false),
        line("0002", true),
        line("0003", true),
        line("0009", false)
    );
    Tree::new()
        .images(&[
            "Class1/Test/0001.PNG",
            "Class1/Test/0002.PNG",
            "Class1/Test/0003.PNG",
            "Class1/Test/0004.PNG",
        ])
        .masks(&["Class1/Test/Label/0002_label.PNG"])
        .text("Class1/Test/Label/Labels.txt", &test)
        .images(&["Class1/Train/0010.PNG"])
        .text("Class1/Train/Label/Labels.txt", &format!("1\n{}", line("0010", false)))
        .images(&["Class2/Class2/Test/0001.PNG"])
        .masks(&["Class2/Class2/Test/Label/0001_label.PNG"])
}

/// CVC-ClinicDB as its authors have it.
pub(crate) fn clinic_db() -> Tree {
    Tree::new()
        .images(&["Original/1.tif", "Original/10.tif"])
        .masks(&["Ground Truth/1.tif", "Ground Truth/10.tif"])
}

/// Kvasir-SEG with a mask missing.
pub(crate) fn kvasir() -> Tree {
    Tree::new().images(&["images/a.jpg", "images/b.jpg"]).masks(&["masks/a.jpg"])
}

/// Both copies of the archive.
pub(crate) fn brain_mri() -> Tree {
    Tree::new()
        .images(&["yes/Y1.jpg", "yes/Y 2.JPG", "no/no 1.jpeg"])
        .images(&["brain_tumor_dataset/yes/Y1.jpg", "brain_tumor_dataset/no/no 1.jpeg"])
}

/// With the folders that are not labelled.
pub(crate) fn br35h() -> Tree {
    Tree::new()
        .images(&["yes/y1.jpg", "no/No1.jpg", "pred/pred1.jpg"])
        .text("Br35H-Mask-RCNN/annotations_all.json", "{}")
}

/// Two categories of one's own, under different names for the same.
pub(crate) fn folders() -> Tree {
    Tree::new()
        .images(&[
            "screw/ok/1.png",
            "screw/not_ok/2.png",
            "nut/normal/1.png",
            "nut/anomalous/2.png",
        ])
        .masks(&["nut/masks/2.png"])
}

/// The list of the AnomalyCLIP family, with an image missing.
pub(crate) fn meta_json() -> Tree {
    let entry = |image: &str, mask: &str, kind: &str, anomaly: u8| {
        format!(
            r#"{{"img_path":"{image}","mask_path":"{mask}","cls_name":"x","specie_name":"{kind}","anomaly":{anomaly}}}"#
        )
    };
    let meta = format!(
        r#"{{"train":{{"x":[{}]}},"Test":{{"x":[{},{},{}]}}}}"#,
        entry("a/0.png", "", "", 0),
        entry("a/1.png", "", "good", 0),
        entry("b/2.png", "m/2.png", "hole", 1),
        entry("b/3.png", "m/3.png", "hole", 1)
    );
    Tree::new()
        .text("meta.json", &meta)
        .images(&["a/0.png", "a/1.png", "b/2.png"])
        .masks(&["m/2.png"])
}
