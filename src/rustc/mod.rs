//! What rustc is told, how it is run, and what it keeps between runs.

pub mod argv;
pub mod crate_source;
pub mod dep_graph;
pub mod leb128;
pub mod nodes;
pub mod output_names;
pub mod probe;
pub mod query_cache;
pub mod run;
pub mod session;
pub mod tried;
