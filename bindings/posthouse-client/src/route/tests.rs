use remoting::body;

use super::*;

/// What a name server of 4.9.3 answers: keys of numbers without quotes.
const FASTJSON: &str = r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"b","cluster":"C"},
{"brokerAddrs":{1:"10.0.0.4:10911"},"brokerName":"a","cluster":"C"}],"filterServerTable":{},
"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":2,"topicSynFlag":0,"writeQueueNums":3},
{"brokerName":"a","perm":4,"readQueueNums":1,"topicSysFlag":0,"writeQueueNums":1}]}"#;

#[test]
fn a_route_in_fastjsons_dialect_says_which_queues_are_read_and_written() {
    let answer = body::from_slice(FASTJSON.as_bytes()).unwrap();
    let route = Route::new("t", answer);
    let shown = |queue: &Queue| format!("{}{}", queue.broker, queue.id);
    let readable: Vec<_> = route.readable.iter().map(shown).collect();
    let writable: Vec<_> = route.writable.iter().map(|t| shown(&t.queue)).collect();
    // `a` comes first, as in Java; it has no master and may not be written.
    assert_eq!(readable, ["a0", "b0", "b1"]);
    assert_eq!(writable, ["b0", "b1", "b2"]);
    assert_eq!(&*route.writable[0].master, "10.0.0.1:10911");
}

#[test]
fn an_ordered_topic_is_written_where_its_configuration_says() {
    let mut answer: TopicRoute = body::from_slice(FASTJSON.as_bytes()).unwrap();
    answer.order_topic_conf = Some("b:2;gone:4".to_owned());
    let route = Route::new("t", answer);
    assert_eq!(route.writable.len(), 2);
}

#[test]
fn an_unknown_topic_gets_four_queues_of_its_template() {
    let mut answer: TopicRoute = body::from_slice(FASTJSON.as_bytes()).unwrap();
    answer.queue_datas[0].perm = 7;
    answer.queue_datas[0].read_queue_nums = 8;
    let route = Route::from_template("t", answer);
    assert_eq!(route.writable.len(), 4);
    assert!(route.writable.iter().all(|t| &*t.queue.topic == "t"));
}
