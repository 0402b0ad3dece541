//! Lariat holds HTTP connections for Erlang and Elixir systems.
//!
//! ```text
//!   Erlang node                      this crate
//!  ┌──────────┐  distribution  ┌──────┐   ┌────────┐   ┌───────────────┐  HTTP
//!  │  lariat  │◄──────────────►│ dist │◄─►│ bridge │◄─►│ edge: shards, │◄─────► browsers,
//!  │ (OTP app)│    protocol    └──────┘   └────────┘   │ each one hub  │        devices
//!  └──────────┘                                        └───────────────┘
//! ```
//!
//! The rooms, in layer order; arrows only point down, and `test/layering.rs` enforces it:
//!
//! * `main` → `config`, `doctor`, `launch`, `node`
//! * `node` → every room: the only place that knows everybody
//! * [`config`] → the rooms' own `Config` types
//! * [`admin`] → `metrics`; [`bridge`] → `edge`, `wire`, `metrics`
//! * [`dist`] → `term`, `wire`, `metrics`; [`term`] → `wire`
//! * [`edge`] → `hub`, `websocket`, `wire`, `metrics`
//! * [`hub`] → `websocket`, `wire`; [`websocket`] → `wire`
//! * [`memory`] → `metrics`
//! * [`doctor`], [`launch`] → nothing
//! * [`wire`], [`metrics`] → nothing
//!
//! `dist`, `edge` and `admin` never see each other. What only the hidden node needs is behind the
//! feature `node`, so that the NIF builds without it; of [`config`] that is all but the edge's part.

pub mod metrics;
pub mod wire;

pub mod term;
pub mod websocket;

pub mod hub;

pub mod edge;

pub mod bridge;

#[cfg(feature = "node")]
pub mod admin;
#[cfg(feature = "node")]
pub mod dist;
#[cfg(feature = "node")]
pub mod doctor;
#[cfg(feature = "node")]
pub mod launch;

pub mod memory;

pub mod config;

#[cfg(feature = "node")]
pub mod node;
