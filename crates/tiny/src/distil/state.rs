//! Which saved state a distillation goes on from.

use std::path::Path;

use fe_clip::Error;
use fe_clip::saved_state::SavedState;

use super::{DistilConfig, schedule};

/// Folder of the state that was saved last.
pub(super) const LAST: &str = "state";
/// Folder of the state from before the learning rate fell.
pub(super) const PLATEAU: &str = "plateau";

/// The furthest state that a run with these settings goes through: of a run of another length, one
/// from before its learning rate began to fall.
pub(super) fn find(
    out: &Path,
    config: &DistilConfig,
) -> Result<Option<SavedState<DistilConfig>>, Error> {
    let mut too_far = None;
    for name in [LAST, PLATEAU] {
        let Some(state) = SavedState::<DistilConfig>::find(&out.join(name))? else { continue };
        let saved = &state.config;
        let differences = differences(saved, config);
        if !differences.is_empty() {
            let reason = format!("a state of another run: {}", differences.join(", "));
            return Err(Error::invalid(state.dir(), reason));
        }
        let same = (saved.steps, saved.anneal) == (config.steps, config.anneal);
        if same || state.step <= schedule::plateau(saved).min(schedule::plateau(config)) {
            return Ok(Some(state));
        }
        too_far = Some(state);
    }
    let Some(state) = too_far else { return Ok(None) };
    let (step, plateau) = (state.step, schedule::plateau(config));
    let reason = format!(
        "at step {step}, but these settings lower the learning rate from step {plateau} on"
    );
    Err(Error::invalid(state.dir(), reason))
}

/// The settings in which a saved run and its continuation differ. Their numbers of steps may.
fn differences(saved: &DistilConfig, wanted: &DistilConfig) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |key: &str, saved: String, wanted: String| {
        if saved != wanted {
            differences.push(format!("{key} was {saved}, is {wanted}"));
        }
    };
    let corpus = |config: &DistilConfig| config.corpus.clone().unwrap_or("none".into());
    compare("seed", saved.seed.to_string(), wanted.seed.to_string());
    compare("corpus", corpus(saved), corpus(wanted));
    let start = |config: &DistilConfig| config.start.clone().unwrap_or("none".into());
    compare("start", start(saved), start(wanted));
    compare("windows", saved.windows.to_string(), wanted.windows.to_string());
    differences
}
