//! Consumer groups: which there are and how they are configured.

use model::group::GroupConfig;
use model::topic::DataVersion;

use crate::{Answer, Broker, Caller, Error};

#[allow(clippy::todo)]
impl Broker {
    /// Creates or changes groups (Apache `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`). Attributes come as
    /// `+key` and `-key`, as for topics.
    ///
    /// # Errors
    /// [`Error::Attributes`], [`Error::Busy`].
    pub fn update_groups(
        &self,
        caller: &Caller,
        groups: &[GroupConfig],
    ) -> Result<Answer<()>, Error> {
        let _ = (caller, groups);
        todo!()
    }

    /// Deletes a group; with `clean_offsets` its committed offsets as well. Fine if there is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn delete_group(
        &self,
        caller: &Caller,
        group: &str,
        clean_offsets: bool,
    ) -> Result<Answer<()>, Error> {
        let _ = (caller, group, clean_offsets);
        todo!()
    }

    /// One group's configuration. Where groups are created automatically, asking creates it, as with
    /// Apache.
    ///
    /// # Errors
    /// [`Error::GroupMissing`].
    pub fn group(&self, caller: &Caller, group: &str) -> Result<Answer<GroupConfig>, Error> {
        let _ = (caller, group);
        todo!()
    }

    /// All groups and the version of the table.
    pub fn groups(&self) -> (Vec<GroupConfig>, DataVersion) {
        todo!()
    }
}
