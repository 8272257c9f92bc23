//! Raw measurements, and the rows of ratios made from them.

use serde::Serialize;

use crate::build::Build;
use crate::table;

/// One arm, once.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) scene: Scene,
    pub(crate) arm: Arm,
    /// 0 is the warm-up, which no row counts; scenes of builds from nothing have none.
    pub(crate) round: u32,
    /// `start`, `cp` or `publish`, as the arm says.
    pub(crate) ours_seconds: f64,
    pub(crate) cargo_seconds: f64,
    /// What cargo ran in the build; None where cargo was not watched.
    pub(crate) rebuilt: Option<usize>,
    /// Of `start` or `publish` itself, without cargo and rustc.
    pub(crate) peak_bytes: Option<u64>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scene {
    FromNothing,
    SameCommit,
    PullAfterStart,
    PullAfterCargo,
    PublishNext,
}

/// How it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arm {
    Start,
    Publish,
    Copy,
    Cargo,
}

impl Sample {
    /// Returns a sample of nothing yet.
    pub(crate) fn new(scene: Scene, arm: Arm, round: u32) -> Sample {
        Sample {
            scene,
            arm,
            round,
            ours_seconds: 0.0,
            cargo_seconds: 0.0,
            rebuilt: None,
            peak_bytes: None,
        }
    }

    /// Returns the sample with what `build` took.
    pub(crate) fn with(mut self, build: &Build) -> Sample {
        self.cargo_seconds = build.seconds;
        self.rebuilt = Some(build.rebuilt.len());
        self
    }
}

/// Two medians and their ratio.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) ratio: f64,
    /// None: for information.
    pub(crate) limit: Option<f64>,
}

/// Memory that `start` and `publish` may use, in MB.
const MEMORY_MB: f64 = 300.0;

/// What is compared, and the most that A / B may be (issue 2); None: for information.
const RATIOS: [(&str, Option<f64>); 9] = [
    (
        "same commit: start + build / cp -a target + build",
        Some(1.5),
    ),
    (
        "same commit: start + build / build from nothing",
        Some(0.05),
    ),
    ("pull, warm by start: start + build / build", Some(0.15)),
    ("pull, warm by cargo: start + build / build", Some(0.15)),
    ("publish, first time / its build from nothing", Some(0.15)),
    ("publish, next commit / that build from nothing", Some(0.10)),
    ("build from nothing: with the wrapper / without", None),
    ("memory of start, MB / 300", Some(1.0)),
    ("memory of publish, MB / 300", Some(1.0)),
];

/// Returns issue 2's speed table for `samples`; a row whose samples are missing is left out.
pub(crate) fn rows(samples: &[Sample]) -> Vec<Row> {
    use {Arm::*, Scene::*};
    let middle = |scene: Scene, arm: Arm, seconds: fn(&Sample) -> f64| {
        let counted = samples.iter().filter(|it| it.round > 0);
        let of_arm = counted.filter(|it| it.scene == scene && it.arm == arm);
        median(of_arm.map(seconds).collect())
    };
    let total = |scene, arm| middle(scene, arm, |it| it.ours_seconds + it.cargo_seconds);
    let publish = |scene| middle(scene, Publish, |it| it.ours_seconds);
    let wrapped = middle(FromNothing, Publish, |it| it.cargo_seconds);
    let peak_mb = |arm: Arm| {
        let of_arm = samples.iter().filter(|it| it.arm == arm);
        let peak = of_arm.filter_map(|it| it.peak_bytes).max();
        peak.map(|bytes| bytes as f64 / 1e6)
    };
    let pairs = [
        (total(SameCommit, Start), total(SameCommit, Copy)),
        (total(SameCommit, Start), total(FromNothing, Cargo)),
        (total(PullAfterStart, Start), total(PullAfterStart, Cargo)),
        (total(PullAfterCargo, Start), total(PullAfterCargo, Cargo)),
        (publish(FromNothing), wrapped),
        (publish(PublishNext), wrapped),
        (wrapped, total(FromNothing, Cargo)),
        (peak_mb(Start), Some(MEMORY_MB)),
        (peak_mb(Publish), Some(MEMORY_MB)),
    ];
    let rows = RATIOS.into_iter().zip(pairs);
    let rows = rows.filter_map(|((name, limit), (a, b))| {
        let (a, b) = (a?, b?);
        let name = name.to_owned();
        Some(Row {
            name,
            a,
            b,
            ratio: a / b,
            limit,
        })
    });
    rows.collect()
}

/// Returns the rows as a table.
pub(crate) fn text(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let verdict = match row.limit {
            None => "",
            Some(limit) if row.ratio <= limit => "ok",
            Some(_) => "missed",
        };
        let limit = row
            .limit
            .map_or_else(String::new, |limit| format!("{limit:.2}"));
        vec![
            row.name.clone(),
            format!("{:.2}", row.a),
            format!("{:.2}", row.b),
            format!("{:.3}", row.ratio),
            limit,
            verdict.to_owned(),
        ]
    };
    let header = [
        "A / B (seconds unless said)",
        "A median",
        "B median",
        "A/B",
        "limit",
        "",
    ];
    table::render(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Returns true when a row misses its limit.
pub(crate) fn is_missed(row: &Row) -> bool {
    row.limit.is_some_and(|limit| row.ratio > limit)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::{Arm, Sample, Scene, is_missed, rows};

    fn sample(arm: Arm, round: u32, seconds: f64) -> Sample {
        let scene = Scene::SameCommit;
        Sample {
            scene,
            arm,
            round,
            ours_seconds: seconds,
            cargo_seconds: 1.0,
            rebuilt: Some(0),
            peak_bytes: None,
        }
    }

    /// A warm-up that counts, or a mean instead of a median, would let one slow round decide.
    #[test]
    fn takes_medians_without_the_warm_up() {
        let start = [(0, 90.0), (1, 2.0), (2, 80.0), (3, 1.0)]
            .map(|(round, it)| sample(Arm::Start, round, it));
        let copy = [(0, 90.0), (1, 1.0), (2, 2.0)].map(|(round, it)| sample(Arm::Copy, round, it));
        let rows = rows(&[start.as_slice(), copy.as_slice()].concat());
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].a, rows[0].b), (3.0, 2.5));
        assert!(!is_missed(&rows[0]));
    }
}
