//! What ts-006 and ts-007 need of a server, on one port 80: whole HTTP requests come back as JSON, all other
//! bytes as they are.
//!
//! OONI had two machines for it. One port does: the lines of ts-007 never end a head with an empty line, the
//! request of ts-006 always does. Bytes that might still become a head wait half a second.

use core::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};

use super::headers;
use crate::net::{Listener, Stream, World, within};

/// How long bytes wait for the rest of a head.
const WAIT: Duration = Duration::from_millis(500);
/// How long a connection lives.
const LIFE: Duration = Duration::from_secs(30);
/// Most bytes that are sent back on one connection: enough for every test, and nothing to amplify with.
const MAX_ECHO: usize = 65_536;

/// Serves every connection of a port, until the port fails.
pub async fn serve(world: World, mut listener: Box<dyn Listener>) {
    while let Ok(stream) = listener.accept().await {
        let task_world = world.clone();
        world.spawn(Box::pin(async move {
            // A client that leaves early or stays too long is no concern of the server's.
            let _ = within(&*task_world, LIFE, answer(&task_world, stream)).await;
        }));
    }
}

/// Serves one connection.
pub async fn answer(world: &World, mut stream: Box<dyn Stream>) -> Result<(), std::io::Error> {
    let (mut waiting, mut sent, mut chunk) = (Vec::new(), 0, [0; 4_096]);
    while sent < MAX_ECHO {
        let taken = if waiting.is_empty() {
            Some(stream.read(&mut chunk).await?)
        } else {
            within(&**world, WAIT, stream.read(&mut chunk)).await.transpose()?
        };
        match taken {
            Some(0) => break,
            Some(taken) => waiting.extend_from_slice(&chunk[..taken]),
            None => {
                stream.write_all(&waiting).await?;
                stream.flush().await?;
                sent += waiting.len();
                waiting.clear();
            }
        }
        if let Some(response) = headers::response_to(&waiting) {
            stream.write_all(&response).await?;
            stream.flush().await?;
            break;
        }
        if waiting.len() > headers::MAX_HEAD {
            stream.write_all(&core::mem::take(&mut waiting)).await?;
            sent += headers::MAX_HEAD;
        }
    }
    stream.write_all(&waiting).await?;
    stream.close().await
}
