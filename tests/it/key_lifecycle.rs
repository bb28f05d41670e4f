//! What the server keeps of client keys by itself: when they were used, and that they end soon.

use aap::api::pb::{self, change::Change as Told};
use prost_types::Timestamp;
use rcgen::{CertificateParams, KeyPair};

use crate::{
    sessions::Application,
    support::{
        ADMIN, Client, Setup, TestServer,
        following::Changes,
        place::Place,
        world::{self, access_point_name},
    },
    telemetry::metrics,
};

const DAY: i64 = 24 * 60 * 60;

fn second(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

async fn get(client: &Client, name: &str) -> pb::ClientKey {
    let request = pb::GetClientKeyRequest { name: name.to_owned() };
    client.access_points().get_client_key(request).await.unwrap().into_inner()
}

fn name_of(app: &Application) -> String {
    format!("{}/clientKeys/{}", app.access_point, app.id)
}

async fn follow(server: &TestServer) -> Changes {
    Changes::from_end(&server.client(ADMIN), "accounts/acme").await
}

async fn next_use(changes: &mut Changes) -> pb::ClientKeyUse {
    let change = changes.next().await;
    assert_eq!(change.actor, "system");
    let Some(Told::ClientKeyUsed(used)) = change.change else { panic!("{change:?}") };
    used
}

async fn next_notice(changes: &mut Changes) -> pb::ClientKeyNotice {
    let change = changes.next().await;
    assert_eq!(change.actor, "system");
    let Some(Told::ClientKeyNoticeGiven(notice)) = change.change else { panic!("{change:?}") };
    notice
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept_once_an_hour_and_is_no_change_of_the_key() {
    let mut place = Place::start().await;
    let app = place.application("keyed").await;
    let admin = place.server.client(ADMIN);
    let before = get(&admin, &name_of(&app)).await;
    assert_eq!(before.last_use_time, None);

    let mut changes = follow(&place.server).await;
    let first = place.now;
    place.session(&app, "1").await;
    let used = next_use(&mut changes).await;
    let wanted = (name_of(&app), before.uid.clone(), Some(second(first)));
    assert_eq!((used.name, used.uid, used.use_time), wanted);
    // Neither what is asked within the hour nor what isn't proved is a use that is kept.
    place.wait(3_599);
    place.session(&app, "2").await;
    place.wait(1);
    place.ask(&app, app.signed(&serde_json::json!({}), &serde_json::json!({}))).await.unwrap_err();
    place.session(&app, "3").await;
    let used = next_use(&mut changes).await;
    assert_eq!(used.use_time, Some(second(first + 3_600)));

    let after = get(&admin, &name_of(&app)).await;
    assert_eq!(after.last_use_time, Some(second(first + 3_600)));
    assert_eq!(pb::ClientKey { last_use_time: None, ..after }, before);
    let request =
        pb::ListClientKeysRequest { parent: app.access_point.clone(), ..Default::default() };
    let listed = admin.access_points().list_client_keys(request).await.unwrap().into_inner();
    assert_eq!(listed.client_keys[0].last_use_time, Some(second(first + 3_600)));
    drop(changes);
    place.server.stop().await;
}

#[tokio::test]
async fn a_use_that_comes_just_before_the_stop_is_kept_too() {
    let mut place = Place::start().await;
    let app = place.application("keyed").await;
    place.session(&app, "1").await;
    place.server = place.server.restart().await;
    let admin = place.server.client(ADMIN);
    let used = Some(second(place.now));
    assert_eq!(get(&admin, &name_of(&app)).await.last_use_time, used);
    // Once more without a snapshot of it having been written since.
    place.server = place.server.restart().await;
    assert_eq!(get(&place.server.client(ADMIN), &name_of(&app)).await.last_use_time, used);
    place.server.stop().await;
}

/// Binds a key that ends in so many days.
async fn bind(place: &Place, access_point: &str, days: i64) -> String {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let request = pb::ImportClientKeyRequest {
        parent: access_point_name(access_point),
        signing_request_pem: request,
        not_before_time: Some(second(place.now)),
        not_after_time: Some(second(place.now + days * DAY)),
        ..Default::default()
    };
    let mut access_points = place.server.client(ADMIN).access_points();
    access_points.import_client_key(request).await.unwrap().into_inner().name
}

#[tokio::test]
async fn notice_is_given_of_a_keys_end_once_each_time_over_restarts() {
    let mut place = Place::start_with(Setup { tells_metrics: true, ..Setup::new() }).await;
    let admin = place.server.client(ADMIN);
    let keyed = world::new_access_point("keyed", &["RAMPolicy"]);
    admin.access_points().create_access_point(keyed).await.unwrap();
    let ending = bind(&place, "keyed", 60).await;
    // One that nobody uses any more, and one that isn't near its end.
    let disabled = bind(&place, "keyed", 60).await;
    bind(&place, "keyed", 400).await;
    let disable = pb::DisableClientKeyRequest { name: disabled, ..Default::default() };
    admin.access_points().disable_client_key(disable).await.unwrap();
    let end = place.now + 60 * DAY;

    let mut told = Vec::new();
    for (days, counts) in [(30, [1.0, 0.0, 0.0]), (7, [1.0, 1.0, 0.0]), (1, [1.0, 1.0, 1.0])] {
        let mut changes = follow(&place.server).await;
        place.wait(end - days * DAY - place.now);
        let notice = next_notice(&mut changes).await;
        assert_eq!(notice.not_after_time, Some(second(end)));
        told.push((notice.name, i64::from(notice.days)));
        let metrics = metrics(&place.server).await;
        for (days, count) in [30, 7, 1].into_iter().zip(counts) {
            let name = format!("aap_client_keys_ending{{aap_days=\"{days}\"}}");
            assert_eq!(metrics.get(&name), Some(&count), "{name}");
        }
        drop(changes);
        place.server = place.server.restart().await;
    }
    let wanted = [30, 7, 1].map(|days| (ending.clone(), days));
    assert_eq!(told, wanted);

    // The next look after the last start finds the next key, and nothing twice.
    let admin = place.server.client(ADMIN);
    let keyed = world::new_access_point("keyed-too", &["RAMPolicy"]);
    admin.access_points().create_access_point(keyed).await.unwrap();
    let mut changes = follow(&place.server).await;
    let next = bind(&place, "keyed-too", 8).await;
    drop(changes.next().await);
    place.wait(DAY);
    let notice = next_notice(&mut changes).await;
    assert_eq!((notice.name, notice.days), (next, 7));
    let mut all = Changes::from(&admin, "accounts/acme", 1).await;
    let all = all.all_through(changes.through).await;
    let is_notice = |change: &&pb::Change| change.actor == "system";
    assert_eq!(all.iter().filter(is_notice).count(), 4);
    drop(changes);
    place.server.stop().await;
}
