//! What operators keep and change: the key-value table (100, 101, 102, 219) and settings (318, 319).
//!
//! A change counts at once; its file is written by a cold job, and the answer says whether that worked.

use std::sync::PoisonError;

use remoting::code::response;
use remoting::server::Outcome;

use super::{Ask, Refused, Served};
use crate::config::ConfigError;
use crate::file;
use crate::server::NameServer;

impl NameServer {
    /// 100
    pub(super) fn put_kv(&self, ask: &mut Ask<'_>) -> Served {
        if !ask.warm {
            let (Some(namespace), Some(key)) = (ask.field("namespace"), ask.field("key")) else {
                return Err(Refused::error("namespace or key is null"));
            };
            let value = ask.need("value")?;
            tracing::info!(namespace, key, "a configuration item is set");
            let put = self.kv.put(namespace, key, value);
            put.map_err(|full| Refused::error(full.to_string()))?;
        }
        self.kv_written(ask)
    }

    /// 102
    pub(super) fn delete_kv(&self, ask: &mut Ask<'_>) -> Served {
        if !ask.warm {
            let (namespace, key) = (ask.need("namespace")?, ask.need("key")?);
            tracing::info!(namespace, key, "a configuration item is deleted");
            self.kv.delete(namespace, key);
        }
        self.kv_written(ask)
    }

    fn kv_written(&self, ask: &mut Ask<'_>) -> Served {
        if !ask.warm && self.kv.has_file() {
            let kv = self.kv.clone();
            return Ok(Outcome::Cold(Box::new(move || kv.persist())));
        }
        match self.kv.trouble() {
            None => ask.done(),
            Some(trouble) => Err(Refused::error(trouble)),
        }
    }

    /// 101
    pub(super) fn find_kv(&self, ask: &mut Ask<'_>) -> Served {
        let namespace = ask.field("namespace").unwrap_or("null");
        let key = ask.field("key").unwrap_or("null");
        match self.kv.find(namespace, key) {
            Some(value) => ask.reply(response::SUCCESS).field("value", &value).finish(),
            None => {
                let remark = format!("No config item, Namespace: {namespace} Key: {key}");
                let reply = ask.reply(response::QUERY_NOT_FOUND).remark(&remark);
                reply.empty_fields().finish();
            }
        }
        Ok(Outcome::Done)
    }

    /// 219
    pub(super) fn list_kv(&self, ask: &mut Ask<'_>) -> Served {
        let namespace = ask.field("namespace").unwrap_or("null");
        match self.kv.list(namespace) {
            Some(body) => ask.body(|out| out.extend_from_slice(&body)),
            None => Err(Refused {
                code: response::QUERY_NOT_FOUND,
                remark: format!("No config item, Namespace: {namespace}"),
            }),
        }
    }

    /// 318
    pub(super) fn update_config(&self, ask: &mut Ask<'_>) -> Served {
        if ask.frame.body.is_empty() {
            return ask.done();
        }
        if ask.warm {
            let trouble = self.config_trouble.lock();
            let trouble = trouble.unwrap_or_else(PoisonError::into_inner).clone();
            return trouble.map_or_else(|| ask.done(), |text| Err(Refused::error(text)));
        }
        let text = String::from_utf8_lossy(ask.frame.body);
        let mut options = self.options_mut();
        options.settings = options.changed(&text).map_err(|error| Refused {
            code: match error {
                ConfigError::BlackListed => response::NO_PERMISSION,
                _ => response::SYSTEM_ERROR,
            },
            remark: error.to_string(),
        })?;
        tracing::info!(text = %text.trim_end(), remote = %ask.peer.remote, "settings are changed");
        let (Some(path), text) = (options.config_path.clone(), options.text()) else {
            drop(options);
            return ask.done();
        };
        let trouble = self.config_trouble.clone();
        Ok(Outcome::Cold(Box::new(move || {
            let failed = file::replace(&path, text.as_bytes()).err();
            let failed = failed.map(|error| format!("{}: {error}", path.display()));
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        })))
    }

    /// 319
    pub(super) fn show_config(&self, ask: &mut Ask<'_>) -> Served {
        let text = self.options().text();
        ask.body(|out| out.extend_from_slice(text.as_bytes()))
    }
}
