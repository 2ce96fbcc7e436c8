// What runs an example of the documentation: a server of its own, inside the process, with the topics that it uses.

use posthouse_client::{Client, Config, Result, TopicConfig, TopicName};

/// Runs an example, with the address of a name server.
pub fn run(example: impl AsyncFnOnce(&'static str) -> Result<()>) {
    let data = tempfile::tempdir().unwrap();
    let config = posthouse::config::Config::embedded(data.path(), "").unwrap();
    let server = posthouse::Server::start(&config).unwrap();
    let name_server: &'static str = server.namesrv().unwrap().address().to_string().leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let client = Client::new(Config::new(name_server));
        for topic in ["orders", "quotes"] {
            let topic = TopicConfig::new(TopicName::parse(topic).unwrap(), 2);
            client.admin().put_topic(&topic).await.unwrap();
        }
        example(name_server).await.unwrap();
        client.shutdown().await;
    });
}
