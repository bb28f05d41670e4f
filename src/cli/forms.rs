//! The forms of resources and messages in JSON, as the API's descriptors say.

use std::marker::PhantomData;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::{Deserialize, de::DeserializeSeed as _};
use serde_json::Value;

use crate::{api, domain::name::ResourceName};

use super::{documents::Syntax, yaml};

/// The forms of resources, as the API describes them.
pub(super) struct Forms(DescriptorPool);

impl Forms {
    pub(super) fn load() -> anyhow::Result<Self> {
        Ok(Self(DescriptorPool::decode(api::FILE_DESCRIPTOR_SET)?))
    }

    fn form(&self, name: &ResourceName) -> anyhow::Result<MessageDescriptor> {
        let form = self.0.get_message_by_name(name.type_name());
        form.ok_or_else(|| anyhow::anyhow!("the API has no `{}`", name.type_name()))
    }

    /// A resource as a text.
    pub(super) fn write(&self, name: &ResourceName, bytes: &[u8]) -> anyhow::Result<String> {
        let message = DynamicMessage::decode(self.form(name)?, bytes)?;
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::pretty(&mut text);
        message.serialize_with_options(&mut serializer, &SerializeOptions::new())?;
        text.push(b'\n');
        Ok(String::from_utf8(text)?)
    }

    /// Any message of the API as a value.
    pub(super) fn value(&self, type_name: &str, message: &impl Message) -> anyhow::Result<Value> {
        let form = self.0.get_message_by_name(type_name);
        let form = form.ok_or_else(|| anyhow::anyhow!("the API has no `{type_name}`"))?;
        let message = DynamicMessage::decode(form, message.encode_to_vec().as_slice())?;
        Ok(message
            .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())?)
    }

    /// Reads a document; or says which field is wrong, and how.
    pub(super) fn read(
        &self,
        text: &str,
        syntax: Syntax,
    ) -> Result<(ResourceName, DynamicMessage), (&'static str, String)> {
        let whole = |error: String| ("", format!("is no such document: {error}"));
        let Named { name } = match syntax {
            Syntax::Json => serde_json::from_str(text).map_err(|error| whole(error.to_string()))?,
            Syntax::Yaml { lines_before } => {
                yaml::read(text, lines_before, PhantomData::<Named>).map_err(whole)?
            }
        };
        let name = name.ok_or(("name", "is missing: it says what this is".to_owned()))?;
        let name = ResourceName::parse(&name).map_err(|error| ("name", error.to_string()))?;
        let form = self.form(&name).map_err(|error| ("name", error.to_string()))?;
        // This refuses what the form doesn't have.
        let message = match syntax {
            Syntax::Json => {
                let mut json = serde_json::Deserializer::from_str(text);
                form.deserialize(&mut json).map_err(|error| whole(error.to_string()))?
            }
            Syntax::Yaml { lines_before } => yaml::read(text, lines_before, form).map_err(whole)?,
        };
        Ok((name, message))
    }
}

/// What a document says first of all.
#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}
