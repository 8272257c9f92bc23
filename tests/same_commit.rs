//! At the same commit, in another place, cargo has nothing to do: no rustc, no build script.

mod common;

use common::{Place, publish, start_elsewhere};
use headstart_testkit::fixture;

/// Every kind of unit, another path, another CARGO_HOME: the promise of the whole tool.
#[test]
fn every_kind_of_unit_is_fresh_elsewhere() {
    let kinds = fixture::kinds();
    let place = Place::new();
    publish(&kinds, &place, &["build", "--workspace", "--all-targets"]);
    let there = start_elsewhere(&kinds, &place, &[]);
    let build = there.cargo().run(&["build", "--workspace", "--all-targets"]);
    build.succeeded().nothing_ran();
    assert_eq!(there.clone.program("one"), {
        kinds.cargo().build(&[]).succeeded();
        kinds.program("one")
    });
}
