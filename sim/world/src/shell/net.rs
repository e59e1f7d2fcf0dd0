//! The sockets the shell needs: few enough that tokio's TCP and turmoil's both have them.

use klamm_model::DisconnectReason;
use klamm_model::node::Endpoint;
use std::future::Future;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

/// An open connection, in its two directions.
#[derive(Debug)]
pub struct Stream<R, W> {
    /// From the other side.
    pub read: R,
    /// To the other side.
    pub write: W,
    /// This side's address.
    pub local: String,
    /// The other side's address.
    pub peer: String,
}

/// The stream of a network.
pub type StreamOf<N> = Stream<<N as Net>::Read, <N as Net>::Write>;

/// TCP, as a node's host has it. Sockets to listen on are bound by whoever starts the process.
pub trait Net: 'static {
    /// A place to listen at. Connections to it are refused until the first [`Net::accept`].
    type Listener: 'static;
    /// The reading half.
    type Read: AsyncRead + Unpin + 'static;
    /// The writing half. Dropping it ends the stream.
    type Write: AsyncWrite + Unpin + 'static;

    /// The next connection.
    fn accept(&self, listener: &Self::Listener) -> impl Future<Output = io::Result<StreamOf<Self>>>
    where
        Self: Sized;
    /// Resolves the name and connects.
    fn connect(&self, to: &Endpoint) -> impl Future<Output = io::Result<StreamOf<Self>>>
    where
        Self: Sized;
}

/// What a failed socket tells a node.
pub fn reason(error: &io::Error) -> DisconnectReason {
    match error.kind() {
        io::ErrorKind::NotFound => DisconnectReason::Unresolved,
        io::ErrorKind::ConnectionRefused => DisconnectReason::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            DisconnectReason::Unreachable
        }
        io::ErrorKind::UnexpectedEof => DisconnectReason::Closed,
        _ => DisconnectReason::Reset,
    }
}
