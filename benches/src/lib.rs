//! What the benchmarks of erpgo-dr share: the work that is measured, the peers, and the clocks.
//!
//! Nothing here is part of the library. Criterion's benchmarks are in `benches/`, the programs that print a
//! ratio beside a peer's own tool in `src/bin/`.

pub mod children;
pub mod failover;
pub mod latency;
pub mod measure;
pub mod peers;
pub mod random;
pub mod segments;
pub mod soak;
pub mod tool;
