//! A byte stream to a peer, in the clear or under TLS: what HTTP and DNS over either need to know.

use okno_model::Failure;

use crate::net::TcpStream;
use crate::tls::{TlsStream, net_failure};

/// A stream.
pub enum ByteStream {
    /// TCP
    Plain(TcpStream),
    /// TLS over TCP
    Tls(Box<TlsStream>),
}

impl ByteStream {
    /// Reads once; 0 at the end.
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Failure> {
        match self {
            Self::Plain(stream) => stream.read(bytes).await.map_err(|error| net_failure(error.kind)),
            Self::Tls(stream) => stream.read(bytes).await,
        }
    }

    /// Fills `bytes`; [`Failure::Eof`] when the stream ends before.
    pub async fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read(&mut bytes[filled..]).await? {
                0 => return Err(Failure::Eof),
                taken => filled += taken,
            }
        }
        Ok(())
    }

    /// Sends all bytes.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await.map_err(|error| net_failure(error.kind)),
            Self::Tls(stream) => stream.write_all(bytes).await,
        }
    }

    /// Says that no more comes.
    pub async fn close(&mut self) {
        match self {
            Self::Plain(stream) => stream.shutdown(),
            Self::Tls(stream) => stream.close().await,
        }
    }

    /// The TCP stream below.
    pub const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.stream(),
        }
    }
}
