//! Write to the API as the one process that may: only while the lease is held, with a deadline, and counted.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lease::Leadership;
use crate::remote::{CallError, Calls, Resource, Verb};

/// Who writes our objects, in `managedFields`.
pub const FIELD_MANAGER: &str = "nimscale-controller";

/// No write may hold anything up for longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The way that everything is written but the lease itself.
#[derive(Clone, Debug)]
pub struct Writer {
    calls: Calls,
    leadership: Leadership,
}

/// An apply that takes its fields from whoever has them: what we state is ours.
pub fn apply_params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

impl Writer {
    pub fn new(calls: Calls, leadership: Leadership) -> Self {
        Self { calls, leadership }
    }

    /// Applies an object, by its own name; a `resourceVersion` in it makes the write meet nobody else's.
    pub async fn apply<K>(&self, resource: Resource, api: &Api<K>, object: &Value) -> anyhow::Result<K>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let (name, what) = self.named(object)?;
        let apply = async { api.patch(name, &apply_params(), &Patch::Apply(object)).await };
        let applied = self.calls.make(Verb::Apply, resource, DEADLINE, apply).await;
        applied.with_context(|| format!("failed to write {what}"))
    }

    /// [`Self::apply`] for a status that is a subresource.
    pub async fn apply_status<K>(&self, resource: Resource, api: &Api<K>, object: &Value) -> anyhow::Result<K>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let (name, what) = self.named(object)?;
        let apply = async { api.patch_status(name, &apply_params(), &Patch::Apply(object)).await };
        let applied = self.calls.make(Verb::Apply, resource, DEADLINE, apply).await;
        applied.with_context(|| format!("failed to write the status of {what}"))
    }

    /// Deletes an object; false when it was not there.
    pub async fn delete<K>(
        &self,
        resource: Resource,
        api: &Api<K>,
        name: &str,
        params: &DeleteParams,
    ) -> anyhow::Result<bool>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        self.may_write()?;
        match self.calls.make(Verb::Delete, resource, DEADLINE, api.delete(name, params)).await {
            Ok(_) => Ok(true),
            Err(CallError::NotFound(_)) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("failed to delete {name}")),
        }
    }

    /// The object's name, and what to call it, if it may be written now.
    fn named<'a>(&self, object: &'a Value) -> anyhow::Result<(&'a str, String)> {
        self.may_write()?;
        let name = object["metadata"]["name"].as_str().context("what is written has a name")?;
        Ok((name, format!("{} {name}", object["kind"].as_str().unwrap_or_default())))
    }

    /// A write of a process that is no longer the one that writes would undo its successor's.
    fn may_write(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.leadership.is_held(), "the lease was lost");
        Ok(())
    }
}
