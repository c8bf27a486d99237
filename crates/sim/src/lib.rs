//! REHEARSES: the real core and the real engine in an imagined world with faults, in virtual time.
//!
//! Everything outside the engine is imagined: the disk under the journal ([`fate::AppendFate`]), the target of every
//! service with its fence, its memory and its traffic ([`target::Health`], [`fate::CallFate`]), people, clients, and the
//! life and death of the control plane itself. A checker sees every event that becomes history and every change at a
//! target, and knows the [`law`]s that no run may break.
//!
//! * [`torture::exhaustive`] goes through every crash point of small worlds;
//! * [`torture::large`] plays seeded large worlds for many hours;
//! * [`rehearse::rehearse`] shows what a plan would do.
//!
//! The same seed gives the same run: time moves only when no task has anything left to do.

mod disk;
pub mod fate;
pub mod law;
mod life;
mod oracle;
mod play;
mod process;
pub mod rehearse;
mod scenario;
pub mod target;
pub mod torture;
mod universe;
mod world;
