//! What operators do: topics, groups, offsets, queries.

mod checkers;
mod consumers;
mod dead_letters;
mod modes;
mod offsets;
mod query;
mod settings;
mod state;
mod stats;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::group::GroupConfig;
use model::topic::TopicConfig;
use model::{GroupName, TopicName};
use remoting::body::{
    self, CheckClient, ClusterInfo, ConsumerIds, GroupList, SubscriptionGroupConfig,
    SubscriptionGroupTable, TopicList,
};
use remoting::code::{request, response};
use remoting::header::admin::{CreateTopicHeader, DeleteGroupHeader, GroupHeader, TopicHeader};
use remoting::header::heartbeat::ConsumerGroupHeader;
use remoting::{Answer, Command};

use crate::client::Inner;
use crate::error::{Error, Result};
use crate::filter::{Filter, Wanted};
use crate::pull::NO_GROUP;
use crate::queue::Queue;
use crate::route::TEMPLATE;

pub use consumers::ResetTo;
pub use dead_letters::Redrive;
pub use settings::ClientInfo;
pub use state::BrokerState;
pub use stats::{Progress, QueueStats, TopicFigures};
pub use waiting::TransactionState;

/// What operators do. Cheap to clone. It says names as brokers do: a client's namespace is neither added nor taken away
/// (the client's [`crate::Names`] do so).
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
/// # example::run(async |name_server| {
/// use posthouse_client::{Client, Config, TopicConfig, TopicName};
///
/// let admin = Client::new(Config::new(name_server)).admin();
/// let topic = TopicName::parse("orders")?;
/// admin.put_topic(&TopicConfig::new(topic, 8)).await?;
/// for queue in admin.queues("orders").await? {
///     println!("{queue}: {}..{}", admin.min_offset(&queue).await?, admin.max_offset(&queue).await?);
/// }
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct Admin {
    client: Arc<Inner>,
}

impl Admin {
    pub(crate) fn new(client: Arc<Inner>) -> Admin {
        Admin { client }
    }

    /// The brokers of the cluster, by name, and the names by cluster.
    ///
    /// # Errors
    /// If no name server answers.
    pub async fn cluster(&self) -> Result<ClusterInfo> {
        let command = Command::request(request::GET_BROKER_CLUSTER_INFO);
        crate::name_servers::read_body(&self.ask_name_server(command).await?, "a name server")
    }

    /// Every topic that name servers know.
    ///
    /// # Errors
    /// If no name server answers.
    pub async fn topics(&self) -> Result<Vec<String>> {
        let command = Command::request(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
        let answer = self.ask_name_server(command).await?;
        let list: TopicList = crate::name_servers::read_body(&answer, "a name server")?;
        Ok(list.topic_list)
    }

    /// Makes a topic, or changes it, on every broker that has a master.
    ///
    /// # Errors
    /// The first refusal; the brokers after it were not asked.
    pub async fn put_topic(&self, topic: &TopicConfig) -> Result<()> {
        let attributes: Vec<String> = (topic.attributes.iter())
            .map(|(name, value)| format!("+{name}={value}"))
            .collect();
        let attributes = attributes.join(",");
        let header = CreateTopicHeader {
            topic: topic.name.as_str(),
            default_topic: Some(TEMPLATE),
            read_queues: topic.read_queues as i32,
            write_queues: topic.write_queues as i32,
            perm: topic.perm.0 as i32,
            filter_type: topic.filter.as_str(),
            sys_flag: Some(topic.sys_flag),
            order: topic.order,
            attributes: (!attributes.is_empty()).then_some(&attributes),
        };
        let command = header.fill(Command::request(request::UPDATE_AND_CREATE_TOPIC));
        self.at_every_master(command).await?;
        self.client.routes.forget(topic.name.as_str());
        Ok(())
    }

    /// A topic's configuration on one of its brokers, the first by name.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic.
    pub async fn topic(&self, topic: &str) -> Result<TopicConfig> {
        let route = self
            .client
            .routes
            .refresh(topic, &self.client.ask())
            .await?;
        let master = route.brokers.iter().find_map(|broker| broker.any());
        let master = master.ok_or_else(|| Error::NoRoute(topic.to_owned()))?;
        let channel = self.client.channels.to(master).await?;
        let command = TopicHeader { topic }.fill(Command::request(request::GET_TOPIC_CONFIG));
        let answer = channel.call(command, self.client.config.timeout).await?;
        let config: body::TopicConfig = Inner::body(&channel, &answer)?;
        Ok(TopicConfig::try_from(&config)?)
    }

    /// Deletes a topic from every broker and every name server, with its messages. An unknown topic is
    /// deleted already.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        TopicName::parse(topic)?;
        let header = TopicHeader { topic };
        let command = header.fill(Command::request(request::DELETE_TOPIC_IN_BROKER));
        self.at_every_member(command).await?;
        for server in self.client.servers.addresses() {
            let command = header.fill(Command::request(request::DELETE_TOPIC_IN_NAMESRV));
            self.client.call(server, command).await?;
        }
        self.client.routes.forget(topic);
        Ok(())
    }

    /// Makes a group, or changes it, on every broker that has a master.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn put_group(&self, group: &GroupConfig) -> Result<()> {
        let body = body::to_vec(&SubscriptionGroupConfig::from(group));
        let command = Command::request(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body(body);
        self.at_every_master(command).await
    }

    /// A group's configuration on one broker; `None` if it has none there. Asked for one group, Apache's
    /// brokers make it where they make groups for their consumers; ours do not.
    ///
    /// # Errors
    /// If no broker answers.
    pub async fn group(&self, group: &str) -> Result<Option<GroupConfig>> {
        GroupName::parse(group)?;
        let masters = self.masters().await?;
        let master = masters.first().ok_or(Error::NoNameServer)?;
        let channel = self.client.channels.to(master).await?;
        let command = GroupHeader {
            group,
            existing: Some(true),
        };
        let command = command.fill(Command::request(request::GET_SUBSCRIPTIONGROUP_CONFIG));
        match channel.call(command, self.client.config.timeout).await {
            Ok(answer) => {
                let config: SubscriptionGroupConfig = Inner::body(&channel, &answer)?;
                Ok(Some(GroupConfig::try_from(&config)?))
            }
            Err(error) if error.code() == Some(response::SUBSCRIPTION_GROUP_NOT_EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The configuration of every group on every broker, in the order of names; of one that brokers
    /// configure differently, the one of the first of them.
    ///
    /// # Errors
    /// The first broker that refuses or gives no answer.
    pub async fn groups(&self) -> Result<Vec<GroupConfig>> {
        let command = Command::request(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
        let masters = self.masters().await?;
        let tables: Vec<SubscriptionGroupTable> = self.each(masters, command, None).await?;
        let mut all = BTreeMap::new();
        for table in tables {
            for (name, config) in table.subscription_group_table {
                all.entry(name).or_insert(config);
            }
        }
        let configs = all.values().map(GroupConfig::try_from);
        Ok(configs.collect::<std::result::Result<_, _>>()?)
    }

    /// The groups that have an offset in a topic, or members that want it.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic; else the first broker that refuses or gives no
    /// answer.
    pub async fn groups_of(&self, topic: &str) -> Result<BTreeSet<String>> {
        let command = Command::request(request::QUERY_TOPIC_CONSUME_BY_WHO);
        let command = TopicHeader { topic }.fill(command);
        let brokers = self.brokers_of(topic).await?;
        let lists: Vec<GroupList> = self.each(brokers, command, None).await?;
        Ok(lists.into_iter().flat_map(|list| list.group_list).collect())
    }

    /// Lets a broker look at a filter: it refuses one that is none with 23, and says why. Brokers that
    /// do not serve SQL filters refuse every SQL filter.
    ///
    /// # Errors
    /// The refusal; or that the topic has no route, or no answer came.
    pub async fn check_filter(&self, topic: &str, filter: &Filter) -> Result<()> {
        let wanted = Wanted::new(topic, filter)?;
        self.client.check_filter(NO_GROUP, &wanted).await
    }

    /// Deletes a group from every broker, and its offsets if asked to. An unknown group is deleted
    /// already.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn delete_group(&self, group: &str, clean_offset: bool) -> Result<()> {
        GroupName::parse(group)?;
        let header = DeleteGroupHeader {
            group,
            clean_offset,
        };
        let command = header.fill(Command::request(request::DELETE_SUBSCRIPTIONGROUP));
        self.at_every_member(command).await
    }

    /// The ids of a group's clients, as one broker of the topic knows them.
    ///
    /// # Errors
    /// If the topic has no route, or no broker answers.
    pub async fn group_members(&self, group: &str, topic: &str) -> Result<Vec<String>> {
        self.client.group_members(group, topic).await
    }

    /// The queues of a topic that can be read.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic.
    pub async fn queues(&self, topic: &str) -> Result<Vec<Queue>> {
        let route = self
            .client
            .routes
            .refresh(topic, &self.client.ask())
            .await?;
        Ok(route.readable.clone())
    }

    async fn ask_name_server(&self, command: Command) -> Result<Answer> {
        let client = &self.client;
        let limit = client.config.timeout;
        client.servers.call(&client.channels, command, limit).await
    }

    /// The address of each broker of a topic: of its master, else of any member.
    async fn brokers_of(&self, topic: &str) -> Result<Vec<String>> {
        let (routes, ask) = (&self.client.routes, self.client.ask());
        let route = routes.refresh(topic, &ask).await?;
        let addresses = route.brokers.iter().filter_map(|broker| broker.any());
        let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
        match addresses.is_empty() {
            true => Err(Error::NoRoute(topic.to_owned())),
            false => Ok(addresses),
        }
    }

    /// The bodies with which these brokers answer; who answers with the code `absent` has none.
    async fn each<T: serde::de::DeserializeOwned>(
        &self,
        addresses: Vec<String>,
        command: Command,
        absent: Option<i32>,
    ) -> Result<Vec<T>> {
        let mut bodies = Vec::with_capacity(addresses.len());
        for address in addresses {
            let channel = self.client.channels.to(&address).await?;
            match channel
                .call(command.clone(), self.client.config.timeout)
                .await
            {
                Ok(answer) => bodies.push(Inner::body(&channel, &answer)?),
                Err(error) if absent.is_some() && error.code() == absent => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bodies)
    }

    async fn masters(&self) -> Result<Vec<String>> {
        let cluster = self.cluster().await?;
        let brokers = cluster.broker_addr_table.values();
        let masters = brokers.filter_map(|broker| broker.broker_addrs.get(&0).cloned());
        Ok(masters.collect())
    }

    async fn at_every_master(&self, command: Command) -> Result<()> {
        for master in self.masters().await? {
            self.client.call(&master, command.clone()).await?;
        }
        Ok(())
    }

    async fn at_every_member(&self, command: Command) -> Result<()> {
        for broker in self.cluster().await?.broker_addr_table.values() {
            for address in broker.broker_addrs.values() {
                self.client.call(address, command.clone()).await?;
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Lets a broker of the topic look at a filter.
    pub(crate) async fn check_filter(&self, group: &str, wanted: &Wanted) -> Result<()> {
        let topic = &wanted.topic;
        let route = self.route(topic).await?;
        let address = route.brokers.iter().find_map(|broker| broker.any());
        let address = address.ok_or_else(|| Error::NoRoute(topic.to_string()))?;
        let check = CheckClient {
            client_id: self.id.clone(),
            group: group.to_owned(),
            namespace: None,
            subscription_data: Some((&wanted.subscription).into()),
        };
        let command = Command::request(request::CHECK_CLIENT_CONFIG);
        self.call(address, command.body(body::to_vec(&check)))
            .await?;
        Ok(())
    }

    /// The ids of a group's clients. Any broker of the topic knows all of them, because every client
    /// sends its heartbeat to every broker of its routes.
    pub(crate) async fn group_members(&self, group: &str, topic: &str) -> Result<Vec<String>> {
        let route = self.route(topic).await?;
        let address = route.brokers.iter().find_map(|broker| broker.any());
        let address = address.ok_or_else(|| Error::NoRoute(topic.to_owned()))?;
        let channel = self.channels.to(address).await?;
        let header = ConsumerGroupHeader {
            consumer_group: group,
        };
        let command = header.fill(Command::request(request::GET_CONSUMER_LIST_BY_GROUP));
        match channel.call(command, self.config.timeout).await {
            Ok(answer) => {
                let ids: ConsumerIds = Inner::body(&channel, &answer)?;
                Ok(ids.consumer_id_list)
            }
            // That is how a broker says that nobody is there.
            Err(Error::Refused(refusal)) if refusal.code == response::SYSTEM_ERROR => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}
