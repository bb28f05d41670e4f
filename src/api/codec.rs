//! Protobuf as tonic's codec has it, but a message that can't be read is the caller's fault and gets
//! an error like any other: `INVALID_ARGUMENT` with its reason, not `INTERNAL`.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::status;

/// The codec of this API.
#[derive(Debug)]
pub struct StrictCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for StrictCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for StrictCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = StrictEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        StrictEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder(PhantomData)
    }
}

/// Most messages are small: tonic's own default of 8 KiB a call is more than an answer needs.
fn buffer_settings() -> BufferSettings {
    BufferSettings::new(512, 32 * 1_024)
}

/// Encodes messages.
#[derive(Debug)]
pub struct StrictEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for StrictEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| status::not_encoded(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffer_settings()
    }
}

/// Decodes messages.
#[derive(Debug)]
pub struct StrictDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let length = buffer.remaining();
        // A message lies in one piece, and reading from a slice costs less than from a buffer.
        let decoded = match buffer.chunk().get(..length) {
            Some(whole) => {
                let decoded = U::decode(whole);
                buffer.advance(length);
                decoded
            }
            None => U::decode(buffer),
        };
        decoded.map(Some).map_err(|error| status::malformed(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffer_settings()
    }
}
