//! `StreamCheckAccess` under load: messages of many questions, encoded once, a window of them on the
//! way. It decodes one answer and counts the others by their messages.

#![allow(clippy::disallowed_methods, reason = "bench code: the clock is what it is for")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};

#[path = "../../tests/it/support/raw_codec.rs"]
mod raw_codec;
use raw_codec::RawCodec;

/// What goes over one stream.
pub(crate) struct Stream<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) token: &'a str,
    /// One encoded message, sent again and again.
    pub(crate) message: Bytes,
    /// How many questions it has.
    pub(crate) questions: usize,
    /// How many messages are on the way together.
    pub(crate) window: usize,
}

impl Stream<'_> {
    /// Questions answered a second. `see` gets each message that comes back.
    pub(crate) fn rate(&self, duration: Duration, see: &mut dyn FnMut(&[u8])) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.run(duration, see))
    }

    async fn run(&self, duration: Duration, see: &mut dyn FnMut(&[u8])) -> f64 {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let mut grpc = Grpc::new(endpoint.connect().await.unwrap())
            .max_decoding_message_size(64 * 1_024 * 1_024);
        grpc.ready().await.unwrap();
        let (send, receive) = mpsc::unbounded_channel();
        for _ in 0..self.window {
            send.send(self.message.clone()).unwrap();
        }
        let mut request = Request::new(UnboundedReceiverStream::new(receive));
        let token = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let path = PathAndQuery::from_static("/aap.v1.AuthorizationService/StreamCheckAccess");
        let mut answers = grpc.streaming(request, path, RawCodec).await.unwrap().into_inner();
        // What is on the way at first is the warm-up.
        for _ in 0..2 * self.window {
            see(&answers.message().await.unwrap().unwrap());
            send.send(self.message.clone()).unwrap();
        }
        let began = Instant::now();
        let mut messages = 0;
        while began.elapsed() < duration {
            see(&answers.message().await.unwrap().unwrap());
            send.send(self.message.clone()).unwrap();
            messages += 1;
        }
        let seconds = began.elapsed().as_secs_f64();
        drop(send);
        while answers.message().await.unwrap().is_some() {}
        f64::from(messages) * self.questions as f64 / seconds
    }
}
