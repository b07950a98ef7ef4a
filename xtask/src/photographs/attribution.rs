//! Licences and authors of a corpus, as a document.

use std::collections::BTreeMap;
use std::fmt::Write;

use data::{Corpus, Shows};

/// `docs/photographs.md`.
pub(super) fn document(corpus: &Corpus) -> String {
    let mut text = String::from(
        "# Photographs that `tiny` learnt to see from\n\n\
         Written by `cargo xtask photographs`; the choice of files and licences stands in \
         `datasets/photographs.toml`.\n\n\
         We ship none of these pictures and no crop of one, only weights that were trained on them. \
         Every file comes from Debian's main archive, whose guidelines demand licences that allow any \
         use, commercial use too; each licence below was read in the package's list of copyrights or, \
         where that says nothing of single files, beside the file. Some of them are share-alike or \
         copyleft (CC BY-SA, GPL, LGPL): whoever passes on the corpus or pictures of it has to name \
         the authors below and keep these terms. We know of no ruling that weights are an \
         adaptation of what they were trained on, and claim nothing either way.\n\n",
    );
    let crops = |shows: Shows| -> usize {
        corpus.sources.iter().filter(|s| s.shows == shows).map(|s| s.crops).sum()
    };
    let _ = writeln!(
        text,
        "{} crops of {} × {} pixels, seed {}: {} of photographs, {} of textures, {} with things that were cut out.\n",
        corpus.crops,
        corpus.side,
        corpus.side,
        corpus.seed,
        crops(Shows::Photograph),
        crops(Shows::Texture),
        crops(Shows::Cutout)
    );
    text.push_str(
        "| package | version | licence | authors | files | crops |\n|---|---|---|---|--:|--:|\n",
    );
    let mut rows: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for source in &corpus.sources {
        let row = rows.entry(source.collection).or_default();
        *row = (row.0 + 1, row.1 + source.crops);
    }
    for (index, (files, crops)) in rows {
        let c = &corpus.collections[index];
        let authors = c.attribution.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| {} | {} | {} | {authors} | {files} | {crops} |",
            c.package, c.version, c.licence
        );
    }
    text.push_str("\nHeld out of every training, to judge what was learnt:\n\n");
    for source in corpus.sources.iter().filter(|source| source.held_out) {
        let package = &corpus.collections[source.collection].package;
        let _ = writeln!(text, "- {package}: `{}`", source.file);
    }
    text
}
