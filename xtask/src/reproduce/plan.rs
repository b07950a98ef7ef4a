//! Which jobs there are, and what stands in the way of each.

use std::collections::BTreeMap;

use super::job::{Job, Kind, Setting, listing_digest};
use super::method::Method;
use super::profile::DataSet;

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its result is there.
    Done,
    /// It can run, after the trainings before it in the plan.
    Ready,
    /// A data set is missing or out of order.
    NoData(DataSet),
}

/// A job of the plan.
pub(super) struct Planned {
    pub(super) job: Job,
    pub(super) hash: String,
    pub(super) state: State,
}

/// What is known of a data set on disk.
pub(super) enum Presence {
    Present { digest: String, images: usize },
    Absent(String),
}

/// The jobs of a run, trainings before what needs them.
pub(super) struct Plan {
    pub(super) jobs: Vec<Planned>,
    pub(super) datasets: BTreeMap<DataSet, Presence>,
}

impl Plan {
    /// Makes the plan of the tables (0 is the time table) for the targets.
    pub(super) fn new(setting: &Setting, tables: &[u8], targets: &[DataSet], seeds: u64) -> Self {
        let mut jobs: Vec<Job> = Vec::new();
        let mut add = |job: Job| {
            for job in job.needs().into_iter().chain([job]) {
                if !jobs.contains(&job) {
                    jobs.push(job);
                }
            }
        };
        for &table in tables {
            for &method in Method::of_table(table) {
                for &dataset in targets.iter().filter(|d| d.in_table(table)) {
                    for job in jobs_of_cell(table, method, dataset, seeds) {
                        add(job);
                    }
                    if table == 0 {
                        break; // one data set is enough to tell the time
                    }
                }
            }
        }
        let mut datasets = BTreeMap::new();
        for job in &jobs {
            datasets.entry(job.dataset).or_insert_with(|| presence(setting, job.dataset));
        }
        let digest = |dataset: DataSet| match datasets.get(&dataset) {
            Some(Presence::Present { digest, .. }) => digest.clone(),
            _ => dataset.name().into(),
        };
        let absent = |dataset: &DataSet| matches!(datasets.get(dataset), Some(Presence::Absent(_)));
        let planned = jobs.iter().map(|job| {
            let hash = setting.hash(job, &digest);
            let sets = [Some(job.dataset), job.needs().map(|training| training.dataset)];
            let missing = sets.into_iter().flatten().find(absent);
            let state = match missing {
                _ if setting.folder(job, &hash).join("record.json").is_file() => State::Done,
                Some(dataset) => State::NoData(dataset),
                None => State::Ready,
            };
            Planned { job: *job, hash, state }
        });
        Self { jobs: planned.collect(), datasets }
    }

    pub(super) fn count(&self, state: &State) -> usize {
        self.jobs.iter().filter(|planned| planned.state == *state).count()
    }

    /// Images that a job looks at.
    pub(super) fn images(&self, dataset: DataSet) -> usize {
        match self.datasets.get(&dataset) {
            Some(Presence::Present { images, .. }) => *images,
            _ => 0,
        }
    }

    /// Whether a job belongs to the shard `index` of `count`: a training and all that needs it
    /// stay together.
    pub(super) fn in_shard(&self, planned: &Planned, shard: Option<(usize, usize)>) -> bool {
        let Some((index, count)) = shard else { return true };
        let group = planned.job.needs().unwrap_or(planned.job);
        let mut groups: Vec<Job> = Vec::new();
        for planned in &self.jobs {
            let group = planned.job.needs().unwrap_or(planned.job);
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let position = groups.iter().position(|g| *g == group).expect("every job has a group");
        position % count == index - 1
    }
}

/// The runs behind a cell of a table.
fn jobs_of_cell(table: u8, method: Method, dataset: DataSet, seeds: u64) -> Vec<Job> {
    let job = |kind, seed| Job { kind, method, dataset, seed };
    if table == 0 {
        return vec![job(Kind::Time, 0)];
    }
    let shots = method.shots(table);
    // Without training and references there is nothing that a seed changes.
    let seeds = if shots != [0] || method.is_trained() { seeds } else { 1 };
    let runs = shots.iter().flat_map(|&shots| (0..seeds).map(move |seed| (shots, seed)));
    runs.map(|(shots, seed)| job(Kind::Eval { shots }, seed)).collect()
}

fn presence(setting: &Setting, dataset: DataSet) -> Presence {
    let root = dataset.root(&setting.data);
    if !root.is_dir() {
        return Presence::Absent(format!("{} is not there", root.display()));
    }
    match data::scan(dataset.layout(), &root) {
        Err(error) => Presence::Absent(error.to_string()),
        Ok(scan) => match listing_digest(&root) {
            Err(error) => Presence::Absent(format!("{}: {error}", root.display())),
            Ok(digest) => {
                let test = scan.samples.iter().filter(|s| s.split == data::Split::Test).count();
                Presence::Present { digest, images: test }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::method::BEYOND;
    use super::super::profile::Profile;
    use super::*;

    fn plan(tables: &[u8], seeds: u64) -> Plan {
        let setting = Setting {
            profile: Profile::Paper,
            backbone: "b".into(),
            backbone_identity: "b".into(),
            code: "c".into(),
            max_steps: None,
            trial: None,
            data: "nowhere".into(),
            out: "nowhere".into(),
        };
        Plan::new(&setting, tables, &Profile::Paper.targets(), seeds)
    }

    #[test]
    fn tables_one_and_two_share_their_runs() {
        let (one, two, both) = (plan(&[1], 5), plan(&[2], 5), plan(&[1, 2], 5));
        assert!(both.jobs.len() < one.jobs.len() + two.jobs.len());
        // 10 targets; five trained methods with 5 seeds on 2 auxiliary sets; two without; one that
        // is in Table 2 alone, of 8 targets.
        let in_both = 5 * 10 * 5 + 2 * 10 + 5 * 2 * 5;
        assert_eq!(both.jobs.len(), in_both + 8 * 5 + 2 * 5);
    }

    #[test]
    fn what_is_beyond_the_paper_uses_the_training_of_its_tables() {
        let (one, both) = (plan(&[1], 5), plan(&[1, BEYOND], 5));
        // On two targets: MuSc once, FE-CLIP with the group by seed, the residual by shots, too.
        assert_eq!(both.jobs.len() - one.jobs.len(), 2 * (1 + 5 + 3 * 5));
    }

    #[test]
    fn a_training_stands_before_what_needs_it_and_in_its_shard() {
        let plan = plan(&[1, 3, 5], 2);
        for (i, planned) in plan.jobs.iter().enumerate() {
            if let Some(training) = planned.job.needs() {
                let at = plan.jobs.iter().position(|p| p.job == training).expect("is planned");
                assert!(at < i);
                for shard in 1..=3 {
                    let both =
                        [&plan.jobs[at], planned].map(|p| plan.in_shard(p, Some((shard, 3))));
                    assert_eq!(both[0], both[1]);
                }
            }
            let shards = (1..=3).filter(|&s| plan.in_shard(planned, Some((s, 3)))).count();
            assert_eq!(shards, 1);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let plan = plan(&[4], 1);
        assert!(plan.jobs.iter().all(|p| matches!(p.state, State::NoData(_))));
        assert_eq!(plan.datasets.len(), 2);
    }
}
