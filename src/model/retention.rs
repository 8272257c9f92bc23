//! What is kept, and for how long. Pure: ages and sizes in, what goes out.
//!
//! Far away, the weeks in which files were written go as a whole; see `docs/format.md`, "What is collected". In a store, what was
//! used least recently goes first; see note 0011.

use super::epoch::Epoch;

/// How many days a week may be over whose packs a new starting point refers to; older objects are written again.
pub const REFERRED_DAYS: i64 = 14;
/// How many days more than that a week is kept: for readers whose clock is behind the collector's, and for the time between
/// a reader's look at `not_after` and its last request. Writers need none of it, however long they are stopped: what they may
/// refer to and until when it is believed come from one look at the clock.
pub const MARGIN_DAYS: i64 = 7;
/// How many days a file may be older than its week is over: the week itself, and the part of a day that is not counted.
const WEEK_DAYS: i64 = 8;
/// How long what was written or relied on in a store is left alone, in seconds: longer than it takes to publish after cargo has
/// ended, so that an object is there until the manifest that refers to it is.
pub const GRACE_S: i64 = 60 * 60;

/// Tells whether a starting point that is written now may refer to packs of `epoch`.
pub fn may_refer(epoch: Epoch, now_unix_s: i64) -> bool {
    epoch.days_over(now_unix_s) <= REFERRED_DAYS
}

/// Tells whether nothing of `epoch` can be needed any more where starting points may be used for `keep_days`.
pub fn is_over(epoch: Epoch, keep_days: u16, now_unix_s: i64) -> bool {
    epoch.days_over(now_unix_s) > kept_days(keep_days)
}

/// Returns the age in days at which a file can be deleted whose week is not known: not before [`is_over`] says so.
pub fn age_days(keep_days: u16) -> i64 {
    kept_days(keep_days) + WEEK_DAYS
}

fn kept_days(keep_days: u16) -> i64 {
    REFERRED_DAYS + i64::from(keep_days) + MARGIN_DAYS
}

/// A starting point in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// When it was published, fetched or last started from.
    pub used_unix_s: i64,
    /// Until when it may be used.
    pub not_after_unix_s: i64,
    /// What it takes beside its objects.
    pub bytes: u64,
    /// Its objects, as positions in the store's list of them, each once.
    pub objects: Vec<u32>,
}

/// An object in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// When it was written, or somebody last relied on it.
    pub used_unix_s: i64,
    /// Its size.
    pub bytes: u64,
}

/// What goes of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Starting points that have expired, as positions.
    pub expired: Vec<usize>,
    /// Starting points that there is no room for, least recently used first.
    pub crowded_out: Vec<usize>,
    /// Objects to which no other starting point refers.
    pub objects: Vec<usize>,
    /// What goes, in bytes.
    pub bytes: u64,
    /// What remains, in bytes; over the limit where what was used just now is more than that.
    pub remaining_bytes: u64,
}

/// Tells whether what was last used then has been left alone for long enough to go.
pub fn is_idle(used_unix_s: i64, now_unix_s: i64) -> bool {
    used_unix_s < now_unix_s.saturating_sub(GRACE_S)
}

/// Decides what goes of a store that may have `max_bytes`: what has expired, what nothing refers to, and then the least
/// recently used starting points until the rest fits. Nothing goes that was used in the last hour.
pub fn plan(held: &[Held], objects: &[Object], max_bytes: u64, now_unix_s: i64) -> Plan {
    let mut referred = vec![0_usize; objects.len()];
    for object in held.iter().flat_map(|one| &one.objects) {
        referred[*object as usize] += 1;
    }
    let goes = |at: usize| is_idle(objects[at].used_unix_s, now_unix_s);
    let mut plan = Plan::default();
    let unreferred = (0..objects.len()).filter(|at| referred[*at] == 0 && goes(*at));
    plan.objects = unreferred.collect();
    let all = objects.iter().map(|object| object.bytes);
    let all: u64 = all.chain(held.iter().map(|one| one.bytes)).sum();
    let unreferred = plan.objects.iter().map(|at| objects[*at].bytes);
    plan.remaining_bytes = all - unreferred.sum::<u64>();
    let may_go = |at: &usize| is_idle(held[*at].used_unix_s, now_unix_s);
    let mut order: Vec<usize> = (0..held.len()).filter(may_go).collect();
    let has_expired = |at: usize| held[at].not_after_unix_s < now_unix_s;
    order.sort_by_key(|at| (!has_expired(*at), held[*at].used_unix_s));
    for at in order {
        match has_expired(at) {
            true => plan.expired.push(at),
            false if plan.remaining_bytes > max_bytes => plan.crowded_out.push(at),
            false => break,
        }
        plan.remaining_bytes -= held[at].bytes;
        for object in held[at].objects.iter().map(|object| *object as usize) {
            referred[object] -= 1;
            if referred[object] == 0 && goes(object) {
                plan.objects.push(object);
                plan.remaining_bytes -= objects[object].bytes;
            }
        }
    }
    plan.bytes = all - plan.remaining_bytes;
    plan
}

#[cfg(test)]
mod tests {
    use super::{GRACE_S, Held, Object, Plan, age_days, is_over, may_refer, plan};
    use crate::model::epoch::{Epoch, SECONDS_A_DAY};
    use proptest::prelude::*;

    const NOW: i64 = 1_795_628_400;

    fn held(hours_ago: i64, objects: &[u32]) -> Held {
        Held {
            used_unix_s: NOW - hours_ago * 3600,
            not_after_unix_s: NOW + 1,
            bytes: 1,
            objects: objects.to_vec(),
        }
    }

    fn object(hours_ago: i64, bytes: u64) -> Object {
        Object {
            used_unix_s: NOW - hours_ago * 3600,
            bytes,
        }
    }

    /// What somebody started from yesterday would go before what nobody wanted for a month; or a disk would fill up.
    #[test]
    fn the_least_recently_used_goes_first_and_no_more_than_must() {
        let points = [held(30, &[0, 1]), held(700, &[1, 2]), held(90, &[2, 3])];
        let objects = [10, 10, 10, 10].map(|bytes| object(800, bytes));
        let goes = |max| {
            let Plan {
                crowded_out,
                objects,
                remaining_bytes,
                ..
            } = plan(&points, &objects, max, NOW);
            (crowded_out, objects, remaining_bytes)
        };
        assert_eq!(goes(43), (vec![], vec![], 43));
        assert_eq!(goes(42), (vec![1], vec![], 42));
        assert_eq!(goes(41), (vec![1, 2], vec![2, 3], 21));
        assert_eq!(goes(0), (vec![1, 2, 0], vec![2, 3, 0, 1], 0));
    }

    /// A publish or start that is under way would lose what it relies on.
    #[test]
    fn nothing_goes_that_is_in_use() {
        let points = [held(0, &[0]), held(2, &[0, 1])];
        let objects = [object(9, 10), object(0, 10), object(0, 10), object(2, 10)];
        let plan = plan(&points, &objects, 0, NOW);
        assert_eq!((plan.crowded_out, plan.objects), (vec![1], vec![3]));
        assert_eq!(plan.remaining_bytes, 31);
    }

    /// What no start may use would keep its room for ever.
    #[test]
    fn what_has_expired_goes_though_there_is_room() {
        let expired = Held {
            not_after_unix_s: NOW - 1,
            ..held(2, &[0, 1])
        };
        let objects = [object(9, 10), object(9, 10)];
        let plan = plan(&[held(3, &[0]), expired], &objects, u64::MAX, NOW);
        assert_eq!((plan.expired, plan.objects), (vec![1], vec![1]));
    }

    proptest! {
        /// An object would go to which a starting point that stays refers, or a size would be wrong.
        #[test]
        fn what_stays_is_whole(
            points in prop::collection::vec((0i64..200, any::<bool>(), prop::collection::btree_set(0u32..8, 0..6)), 0..8),
            objects in prop::collection::vec((0i64..200, 0u64..100), 8),
            max in 0u64..400,
        ) {
            let point = |(hours, expired, objects): &(i64, bool, std::collections::BTreeSet<u32>)| Held {
                not_after_unix_s: NOW - i64::from(*expired),
                ..held(*hours, &objects.iter().copied().collect::<Vec<_>>())
            };
            let points: Vec<Held> = points.iter().map(point).collect();
            let objects: Vec<Object> = objects.iter().map(|(hours, bytes)| object(*hours, *bytes)).collect();
            let plan = plan(&points, &objects, max, NOW);
            let gone = |at: &usize| plan.expired.contains(at) || plan.crowded_out.contains(at);
            let stay: Vec<usize> = (0..points.len()).filter(|at| !gone(at)).collect();
            for at in &stay {
                let lost = points[*at].objects.iter().any(|one| plan.objects.contains(&(*one as usize)));
                prop_assert!(!lost, "{at} of {plan:?}");
            }
            let left = (0..objects.len()).filter(|at| !plan.objects.contains(at));
            let bytes: u64 = left.map(|at| objects[at].bytes).chain(stay.iter().map(|at| points[*at].bytes)).sum();
            prop_assert_eq!(bytes, plan.remaining_bytes);
            let movable = stay.iter().any(|at| points[*at].used_unix_s < NOW - GRACE_S);
            prop_assert!(bytes <= max || !movable, "{bytes} of {max}, and {plan:?}");
        }

        /// A lifecycle rule, which knows no weeks, would delete what a reader may still need.
        #[test]
        fn an_age_is_never_over_before_its_week(written in 0i64..4_000_000_000, keep in 0u16..400, day in 0i64..600) {
            let now = written + day * SECONDS_A_DAY;
            let epoch = Epoch::of(written);
            prop_assert!(day < age_days(keep) || is_over(epoch, keep, now));
            prop_assert!(!may_refer(epoch, now) || !is_over(epoch, 0, now));
        }
    }
}
