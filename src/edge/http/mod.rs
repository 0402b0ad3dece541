//! What is asked and what is answered: request heads, routes, refusals, the heads of answers.
//!
//! Nothing here decides who may connect (that is the door's), and nothing holds a connection (that is
//! the shards').

pub(in crate::edge) mod asking;
pub(in crate::edge) mod bearer;
pub(in crate::edge) mod body;
pub(in crate::edge) mod cors;
pub(in crate::edge) mod demo;
pub(in crate::edge) mod exchange;
pub(in crate::edge) mod gather;
pub(in crate::edge) mod greeting;
pub(in crate::edge) mod head;
pub(in crate::edge) mod line;
pub(in crate::edge) mod order;
pub(in crate::edge) mod patience;
pub(in crate::edge) mod pattern;
pub(in crate::edge) mod publish;
pub(in crate::edge) mod refusal;
pub(in crate::edge) mod reply;
pub(in crate::edge) mod route;
pub(in crate::edge) mod routing;
pub(in crate::edge) mod serve;
pub(in crate::edge) mod upgrade;
pub(in crate::edge) mod visitor;
