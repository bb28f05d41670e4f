//! Random commands and questions over a few names, so few that they collide: what is created holds
//! what exists, what is deleted is often held, and what is gone comes back as something else.

use proptest::{prelude::*, sample::select};

use super::{
    ABROAD, ANY_NETWORK, HOME, Question, World, add_client_key, as_update, by_role,
    create_access_point, create_network_rule, create_ram_role, create_ram_role_with,
    delete_access_point, delete_client_key, delete_network_rule, delete_policy, delete_ram_role,
    disable_client_key, enable_client_key, full_name, policy_name, resume_access_point,
    revoke_sessions, suspend_access_point, terms,
};
use crate::domain::{
    access_point::TrustedRole,
    command::{Command, NewPolicy},
    resource::Description,
};

pub(crate) const LOCATIONS: [&str; 2] = [HOME, ABROAD];
pub(crate) const ACCESS_POINTS: [&str; 3] = ["a0", "a1", "a2"];
pub(crate) const POLICIES: [&str; 4] = ["p0", "p1", "p2", "p3"];
pub(crate) const NETWORK_RULES: [&str; 4] = ["n0", "n1", "n2", "n3"];

/// Of each access point.
pub(crate) const CLIENT_KEYS: [&str; 2] = ["k0", "k1"];

/// Of each account.
pub(crate) const RAM_ROLES: [&str; 2] = ["r0", "r1"];

impl World {
    /// Lets somebody ask for this; it may be rejected.
    pub(crate) fn step(&mut self, command: Command) {
        drop(self.ask(&self.request(command)));
    }
}

/// A history, from the empty world on: a first attempt at everything at home, so that there is
/// something to lose, and then anything.
pub(crate) fn any_history() -> impl Strategy<Value = Vec<Command>> {
    let at_home = |collection: &'static str, ids: &'static [&'static str]| {
        ids.iter().map(move |id| full_name(HOME, collection, id))
    };
    let network_rules: Vec<_> =
        at_home("networkRules", &NETWORK_RULES).map(any_network_rule).collect();
    let policies: Vec<_> = at_home("policies", &POLICIES).map(any_policy).collect();
    let ram_roles: Vec<_> =
        RAM_ROLES.iter().map(|id| any_ram_role(format!("accounts/acme/ramRoles/{id}"))).collect();
    let access_points: Vec<_> =
        at_home("accessPoints", &ACCESS_POINTS).map(any_access_point).collect();
    let first = (network_rules, policies, ram_roles, access_points).prop_map(
        |(rules, policies, roles, rest)| {
            rules.into_iter().chain(policies).chain(roles).chain(rest).collect::<Vec<_>>()
        },
    );
    (first, prop::collection::vec(any_step(), 0..60))
        .prop_map(|(first, then)| first.into_iter().chain(then).collect())
}

fn any_step() -> impl Strategy<Value = Command> {
    // Mostly at home, or the two tenants would leave each other too little.
    let location = || prop_oneof![4 => Just(HOME), 1 => Just(ABROAD)];
    let name = |collection, ids: &'static [&'static str]| {
        (location(), select(ids)).prop_map(move |(place, id)| full_name(place, collection, id))
    };
    let access_point = || name("accessPoints", &ACCESS_POINTS);
    let client_key = || (access_point(), select(&CLIENT_KEYS));
    let policy = || name("policies", &POLICIES);
    let network_rule = || name("networkRules", &NETWORK_RULES);
    let account = || prop_oneof![4 => Just("acme"), 1 => Just("other")];
    let ram_role = || {
        let name = |(account, id)| format!("accounts/{account}/ramRoles/{id}");
        (account(), select(&RAM_ROLES)).prop_map(name)
    };
    prop_oneof![
        3 => ram_role().prop_flat_map(any_ram_role),
        3 => ram_role().prop_flat_map(any_ram_role).prop_map(as_update),
        2 => ram_role().prop_map(|name| delete_ram_role(&name)),
        6 => access_point().prop_flat_map(any_access_point),
        5 => policy().prop_flat_map(any_policy),
        4 => network_rule().prop_flat_map(any_network_rule),
        2 => access_point().prop_flat_map(any_access_point).prop_map(as_update),
        4 => policy().prop_flat_map(any_policy).prop_map(as_update),
        4 => network_rule().prop_flat_map(any_network_rule).prop_map(as_update),
        3 => access_point().prop_map(|name| delete_access_point(&name)),
        3 => policy().prop_map(|name| delete_policy(&name)),
        2 => network_rule().prop_map(|name| delete_network_rule(&name)),
        1 => access_point().prop_map(|name| suspend_access_point(&name)),
        1 => access_point().prop_map(|name| resume_access_point(&name)),
        1 => access_point().prop_map(|name| revoke_sessions(&name)),
        4 => (access_point(), select(&CLIENT_KEYS), 0..3_usize)
            .prop_map(|(name, id, number)| add_client_key(&name, id, number)),
        1 => client_key().prop_map(|(name, id)| disable_client_key(&name, id)),
        1 => client_key().prop_map(|(name, id)| enable_client_key(&name, id)),
        1 => client_key().prop_map(|(name, id)| delete_client_key(&name, id)),
    ]
}

/// A command to create an access point of that name.
fn any_access_point(name: String) -> impl Strategy<Value = Command> {
    let role = (select(&TrustedRole::ALL), select(&RAM_ROLES));
    (some_of(&POLICIES, 3), prop::option::of(role)).prop_map(move |(policies, role)| {
        let by_key = create_access_point(&name, &policies);
        match role {
            Some((trusted_role, role)) => by_role(by_key, trusted_role, role),
            None => by_key,
        }
    })
}

/// A command to create a RAM role of that name, which trusts one service, both, or nobody.
pub(crate) fn any_ram_role(name: String) -> impl Strategy<Value = Command> {
    const CONDITIONAL: &str = r#"{"Version":"1","Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["ecs.aliyuncs.com","fc.aliyuncs.com"]},"Condition":{}}]}"#;
    const DENIED: &str = r#"{"Version":"1","Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["ecs.aliyuncs.com","fc.aliyuncs.com"]}},{"Action":"*","Effect":"Deny","Principal":{"Service":"*"}}]}"#;
    prop_oneof![
        8 => select(&["ecs", "fc", "ecs fc", "fc ecs oss", "oss"]).prop_map(Ok),
        2 => select(&[CONDITIONAL, DENIED, "{}"]).prop_map(Err),
    ]
    .prop_map(move |trusts: Result<&str, &str>| match trusts {
        Ok(services) => create_ram_role(&name, services),
        Err(document) => create_ram_role_with(&name, document),
    })
}

/// A command to create a policy of that name, with anything that a policy can say.
pub(crate) fn any_policy(name: String) -> impl Strategy<Value = Command> {
    const TEMPLATES: &[&str] =
        &["SECRET_USER", "CRYPTO_SERVICE_SECRET_USER", "CRYPTO_SERVICE_KEY_USER"];
    const PATTERNS: &[&str] =
        &["secret/a", "secret/a*", "secret/ab", "secret/*", "key/a", "key/ab**", "key/*"];
    let shared = (Just("shared"), Just("SECRET_USER".to_owned()), some_of(&NETWORK_RULES, 3));
    let instance = prop_oneof![4 => Just("kst-1"), 1 => Just("kst-2")];
    let dedicated = (instance, some_of(TEMPLATES, 3), some_of(&NETWORK_RULES, 3));
    let any_network = prop::bool::weighted(0.2);
    (prop_oneof![shared, dedicated], some_of(PATTERNS, 3), any_network).prop_filter_map(
        "it could grant nothing",
        move |((scope, permissions, rules), resources, any_network)| {
            let networks = if any_network { ANY_NETWORK } else { rules.as_str() };
            Some(Command::CreatePolicy(NewPolicy {
                name: policy_name(&name),
                description: Description::default(),
                terms: terms(scope, &permissions, &resources, networks)?,
            }))
        },
    )
}

/// A command to create a network rule of that name.
pub(crate) fn any_network_rule(name: String) -> impl Strategy<Value = Command> {
    const PREFIXES: &[&str] = &[
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "::ffff:10.1.0.0/112",
        "::/0",
        "fd00::/8",
    ];
    // Private ones are rare, because policies of the shared scope can't hold them.
    let kind = prop_oneof![
        6 => Just("public"),
        4 => Just("vpc-1"),
        1 => Just("vpc-2"),
        1 => Just("private"),
    ];
    (kind, some_of(PREFIXES, 2))
        .prop_map(move |(kind, addresses)| create_network_rule(&name, kind, &addresses))
}

/// One to `most` of these texts, in any order, as a list.
fn some_of(texts: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(texts), 1..=most).prop_map(|some| some.join(" "))
}

/// What a random question asks.
#[derive(Clone, Debug)]
pub(crate) struct AnyQuestion {
    location: &'static str,
    access_point: String,
    action: &'static str,
    resource: &'static str,
    instance: &'static str,
    origin: String,
}

impl AnyQuestion {
    /// The question, as it is.
    pub(crate) fn ask(&self) -> Question<'_> {
        self.about(&self.access_point)
    }

    /// The question, about another access point.
    pub(crate) fn about<'a>(&'a self, access_point: &'a str) -> Question<'a> {
        let Self { location, action, resource, instance, ref origin, .. } = *self;
        Question { location, access_point, action, resource, instance, origin }
    }
}

/// A question that is likely to be about something that the histories make.
pub(crate) fn any_question() -> impl Strategy<Value = AnyQuestion> {
    const READS: &[(&str, &str)] = &[
        ("GetSecretValue", "secret/a"),
        ("GetSecretValue", "secret/ab"),
        ("GetSecretValue", "secret/abc"),
    ];
    const USES: &[(&str, &str)] =
        &[("Encrypt", "key/a"), ("Sign", "key/abc"), ("GenerateRandom", "")];
    const MISTAKES: &[(&str, &str)] = &[
        ("GetSecretValue", "secret/a*"),
        ("GetSecretValue", ""),
        ("GetSecretValue", "key/a"),
        ("Sign", "key/"),
        ("Decrypt", "secret/a"),
        ("GenerateRandom", "key/a"),
        ("DeleteEverything", "key/a"),
    ];
    let subject = prop_oneof![
        4 => (Just("shared"), select(READS)),
        3 => (Just("kst-1"), select(READS)),
        3 => (Just("kst-1"), select(USES)),
        1 => (Just("shared"), select(USES)),
        1 => (Just("kst-2"), select(READS)),
        2 => (select(&["shared", "kst-1"]), select(MISTAKES)),
    ];
    // Mostly the access point is looked for where it lives.
    let place = prop_oneof![
        16 => Just((HOME, HOME)),
        2 => Just((ABROAD, ABROAD)),
        1 => Just((HOME, ABROAD)),
        1 => Just((ABROAD, HOME)),
    ];
    (place, select(&ACCESS_POINTS), subject, any_origin()).prop_map(
        |((location, home), id, (instance, (action, resource)), origin)| AnyQuestion {
            location,
            access_point: full_name(home, "accessPoints", id),
            action,
            resource,
            instance,
            origin,
        },
    )
}

fn any_origin() -> impl Strategy<Value = String> {
    const ADDRESSES: &[&str] =
        &["10.1.2.3", "10.1.9.9", "10.9.9.9", "::ffff:10.1.2.3", "8.8.8.8", "fd00::1", "2001::1"];
    let network = prop_oneof![
        6 => Just("public"),
        4 => Just("vpc-1"),
        1 => Just("vpc-2"),
        1 => Just("private"),
        1 => Just("-"),
    ];
    let address = prop_oneof![9 => select(ADDRESSES), 1 => Just("-")];
    (network, address).prop_map(|(network, address)| format!("{network} {address}"))
}
