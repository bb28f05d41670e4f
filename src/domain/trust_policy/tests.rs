//! Whom documents trust, and what stands in the way where they don't.

use super::*;

/// What a document says about both services: `trusted`, or the obstacle.
fn read(document: &str) -> [String; 2] {
    let policy = TrustPolicy::parse(document).unwrap();
    assert_eq!(policy.as_str(), document, "it is kept as it was given");
    assert_eq!(policy.trust(TrustedRole::EcsInstance), policy.trust(TrustedRole::AckWorker));
    [TrustedRole::EcsInstance, TrustedRole::FunctionCompute].map(|role| match policy.trust(role) {
        Trust::Trusted => "trusted".to_owned(),
        Trust::Untrusted(obstacle) => obstacle.to_string(),
    })
}

/// A document of these statements.
fn document(statements: &[&str]) -> String {
    format!(r#"{{"Version": "1", "Statement": [{}]}}"#, statements.join(", "))
}

const ALLOW_ECS: &str = r#"{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["ecs.aliyuncs.com"]}}"#;
const NO_FC: &str = "`Statement[0].Principal` doesn't name `fc.aliyuncs.com`";

/// The same statement with one piece of it replaced.
fn with(piece: &str, by: &str) -> String {
    assert!(ALLOW_ECS.contains(piece), "{piece}");
    ALLOW_ECS.replacen(piece, by, 1)
}

#[test]
fn a_role_is_trusted_for_the_service_that_an_allow_names() {
    let imported = r#"{"Version":"1","Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["ecs.aliyuncs.com"]}}]}"#;
    assert_eq!(read(imported), ["trusted", NO_FC]);
    for (piece, by) in [
        (r#"["ecs.aliyuncs.com"]"#, r#""ecs.aliyuncs.com""#),
        (r#"["ecs.aliyuncs.com"]"#, r#"["oss.aliyuncs.com", "ecs.aliyuncs.com"]"#),
        (r#""sts:AssumeRole""#, r#"["sts:AssumeRole"]"#),
        (r#""sts:AssumeRole""#, r#"["sts:TagSession", "sts:AssumeRole"]"#),
        (r#""Effect""#, r#""Eff\u0065ct""#),
        (r#"{"Service""#, r#"{"RAM": "acs:ram::1:root", "Service""#),
        (r#"{"Service""#, r#"{"Federated": ["acs:ram::1:saml-provider/x"], "Service""#),
    ] {
        assert_eq!(read(&document(&[&with(piece, by)])), ["trusted", NO_FC], "{by}");
    }
    let both = with(r#"["ecs.aliyuncs.com"]"#, r#"["fc.aliyuncs.com", "ecs.aliyuncs.com"]"#);
    assert_eq!(read(&document(&[&both])), ["trusted", "trusted"]);
    let fc = with("ecs.aliyuncs.com", "fc.aliyuncs.com");
    assert_eq!(read(&document(&[ALLOW_ECS, &fc])), ["trusted", "trusted"]);
    assert_eq!(
        read(&document(&[&fc])),
        ["`Statement[0].Principal` doesn't name `ecs.aliyuncs.com`", "trusted"]
    );
}

#[test]
fn an_element_that_is_not_understood_makes_a_role_untrusted_and_is_named() {
    for (piece, by, element) in [
        (r#""Effect""#, r#""Condition": {}, "Effect""#, "Statement[0].Condition"),
        (r#""Effect""#, r#""Resource": "*", "Effect""#, "Statement[0].Resource"),
        (r#""Effect""#, r#""NotPrincipal": {}, "Effect""#, "Statement[0].NotPrincipal"),
        (r#""Effect""#, r#""NotAction": "x:Y", "Effect""#, "Statement[0].NotAction"),
        (r#""Effect""#, r#""Sid": "x", "Effect""#, "Statement[0].Sid"),
        (r#""Effect""#, r#""effect": "Deny", "Effect""#, "Statement[0].effect"),
        (r#""Effect""#, r#""a\nb": 1, "Effect""#, r"Statement[0].a\nb"),
        (r#""Allow""#, r#""allow""#, "Statement[0].Effect"),
        (r#""Allow""#, r#""Permit""#, "Statement[0].Effect"),
        (r#""Allow""#, r#"["Allow"]"#, "Statement[0].Effect"),
        (r#""Allow""#, "true", "Statement[0].Effect"),
        (r#""sts:AssumeRole""#, "[]", "Statement[0].Action"),
        (r#""sts:AssumeRole""#, "null", "Statement[0].Action"),
        (r#""sts:AssumeRole""#, r#"["sts:AssumeRole", 1]"#, "Statement[0].Action[1]"),
        (r#"{"Service": ["ecs.aliyuncs.com"]}"#, r#""*""#, "Statement[0].Principal"),
        (r#"{"Service": ["ecs.aliyuncs.com"]}"#, "{}", "Statement[0].Principal"),
        (r#"{"Service""#, r#"{"AWS": "x", "Service""#, "Statement[0].Principal.AWS"),
        (r#"["ecs.aliyuncs.com"]"#, "[]", "Statement[0].Principal.Service"),
        (r#"["ecs.aliyuncs.com"]"#, "{}", "Statement[0].Principal.Service"),
        (r#"["ecs"#, r#"[["x"], "ecs"#, "Statement[0].Principal.Service[0]"),
    ] {
        let obstacle = format!("`{element}` isn't understood");
        assert_eq!(read(&document(&[&with(piece, by)])), [&*obstacle, &*obstacle], "{by}");
        // It takes nothing for somebody else to have been allowed it as well.
        let [ecs, _] = read(&document(&[&with(piece, by), ALLOW_ECS]));
        assert_eq!(ecs, obstacle, "{by}");
    }
    let long = format!(r#""{}": 1, "Effect""#, "k".repeat(500));
    let [ecs, _] = read(&document(&[&with(r#""Effect""#, &long)]));
    assert_eq!(ecs, format!("`Statement[0].{}…` isn't understood", "k".repeat(64)));
}

#[test]
fn a_document_of_another_shape_is_kept_and_trusts_nobody() {
    let statement = format!("[{ALLOW_ECS}]");
    for (document, obstacle) in [
        ("{}".to_owned(), "`Version` is missing"),
        (format!(r#"{{"Statement": {statement}}}"#), "`Version` is missing"),
        (format!(r#"{{"Version": 1, "Statement": {statement}}}"#), "`Version` isn't understood"),
        (format!(r#"{{"Version": "2", "Statement": {statement}}}"#), "`Version` isn't understood"),
        (
            format!(r#"{{"Version": "1", "Id": 1, "Statement": {statement}}}"#),
            "`Id` isn't understood",
        ),
        (
            format!(r#"{{"Version": "1", "statement": {statement}}}"#),
            "`statement` isn't understood",
        ),
        (r#"{"Version": "1"}"#.to_owned(), "`Statement` is missing"),
        (
            format!(r#"{{"Version": "1", "Statement": {ALLOW_ECS}}}"#),
            "`Statement` isn't understood",
        ),
        (document(&["1"]), "`Statement[0]` isn't understood"),
        (document(&[ALLOW_ECS, "[]"]), "`Statement[1]` isn't understood"),
        (document(&["{}"]), "`Statement[0].Effect` is missing"),
        (document(&[r#"{"Effect": "Allow"}"#]), "`Statement[0].Action` is missing"),
        (
            document(&[r#"{"Effect": "Deny", "Action": "x:Y"}"#]),
            "`Statement[0].Principal` is missing",
        ),
    ] {
        assert_eq!(read(&document), [obstacle, obstacle], "{document}");
    }
    let [ecs, fc] = read(&document(&[]));
    assert_eq!(ecs, "`Statement` doesn't name `ecs.aliyuncs.com`");
    assert_eq!(fc, "`Statement` doesn't name `fc.aliyuncs.com`");
}

#[test]
fn an_allow_counts_by_the_exact_names_alone() {
    for action in ["sts:*", "*", "sts:assumerole", "STS:AssumeRole", "sts:AssumeRole ", "", "x:Y"] {
        let statement = with(r#""sts:AssumeRole""#, &format!("\"{action}\""));
        let [ecs, _] = read(&document(&[&statement]));
        assert_eq!(ecs, "`Statement[0].Action` doesn't name `sts:AssumeRole`", "{action:?}");
    }
    for service in
        ["*", "*.aliyuncs.com", "ECS.aliyuncs.com", "ecs.aliyuncs.com.", "1@ecs.aliyuncs.com", ""]
    {
        let statement = with("ecs.aliyuncs.com", service);
        let [ecs, _] = read(&document(&[&statement]));
        assert_eq!(ecs, "`Statement[0].Principal` doesn't name `ecs.aliyuncs.com`", "{service:?}");
    }
    // Neither half of it does by itself.
    let other_action = with("sts:AssumeRole", "sts:TagSession");
    let other_service = with("ecs.aliyuncs.com", "oss.aliyuncs.com");
    let [ecs, _] = read(&document(&[&other_service, &other_action]));
    assert_eq!(ecs, "`Statement[1].Action` doesn't name `sts:AssumeRole`");
    let as_ram = with(r#""Service""#, r#""RAM""#);
    let [ecs, _] = read(&document(&[&as_ram]));
    assert_eq!(ecs, "`Statement[0].Principal` doesn't name `ecs.aliyuncs.com`");
}

#[test]
fn a_deny_that_could_apply_denies() {
    let deny = |action: &str, principal: &str| {
        format!(r#"{{"Effect": "Deny", "Action": {action}, "Principal": {principal}}}"#)
    };
    let (assume, ecs) = (r#""sts:AssumeRole""#, r#"{"Service": "ecs.aliyuncs.com"}"#);
    let denied = "`Statement[1]` denies it, or could";
    for (action, principal, outcome) in [
        (assume, ecs, denied),
        (r#""sts:*""#, ecs, denied),
        (r#""*""#, ecs, denied),
        (r#""sts:assumerole""#, ecs, denied),
        (r#""sts:Assume????""#, ecs, denied),
        (r#"["x:Y", "*"]"#, ecs, denied),
        (r#""""#, ecs, denied),
        (r#""sts:TagSession""#, ecs, "trusted"),
        (assume, r#"{"Service": "*"}"#, denied),
        (assume, r#"{"Service": "*.aliyuncs.com"}"#, denied),
        (assume, r#"{"Service": "ECS.ALIYUNCS.COM"}"#, denied),
        (assume, r#"{"Service": "1@ecs.aliyuncs.com"}"#, denied),
        (assume, r#"{"Service": " ecs.aliyuncs.com"}"#, denied),
        (assume, r#"{"Service": ["oss.aliyuncs.com", "ecs.aliyuncs.com"]}"#, denied),
        (assume, r#"{"RAM": "*"}"#, denied),
        (assume, r#"{"RAM": "acs:ram::*:root"}"#, denied),
        (assume, r#"{"RAM": "acs:ram::1:root"}"#, "trusted"),
        (assume, r#"{"Service": "fc.aliyuncs.com"}"#, "trusted"),
    ] {
        let denying = deny(action, principal);
        let [says, _] = read(&document(&[ALLOW_ECS, &denying]));
        assert_eq!(says, outcome, "{denying}");
        // The order of statements means nothing.
        let [says, _] = read(&document(&[&denying, ALLOW_ECS]));
        assert_eq!(says, outcome.replace("[1]", "[0]"), "{denying}");
    }
    // One that says what isn't understood makes the role untrusted as well.
    let conditional = deny(assume, ecs).replace(r#""Effect""#, r#""Condition": {}, "Effect""#);
    let [says, _] = read(&document(&[ALLOW_ECS, &conditional]));
    assert_eq!(says, "`Statement[1].Condition` isn't understood");
}

#[test]
fn a_text_that_is_no_object_is_refused() {
    for (text, why) in [
        ("", "must be JSON: EOF while parsing a value at line 1 column 0"),
        ("[]", "must be a JSON object"),
        ("\"{}\"", "must be a JSON object"),
        ("{} {}", "must be JSON: trailing characters at line 1 column 4"),
        (
            "{\"Version\": 1, \"Version\": 1}",
            "must be JSON: `Version` stands there twice at line 1 column 24",
        ),
    ] {
        let refused = TrustPolicy::parse(text).unwrap_err();
        assert_eq!(refused.to_string(), why, "{text}");
    }
    let filled = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
    assert!(TrustPolicy::parse(&filled(6_144)).is_ok());
    assert_eq!(TrustPolicy::parse(&filled(6_145)), Err(InvalidTrustPolicy::Length));
}

#[test]
fn further_principals_are_those_whom_an_allow_lets_in_besides() {
    let list = |document: &str| {
        let policy = TrustPolicy::parse(document).unwrap();
        policy.further_principals().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(&document(&[ALLOW_ECS])), "");
    let more = with(
        r#"{"Service": ["ecs"#,
        r#"{"RAM": ["acs:ram::1:root", "acs:ram::1:root"], "Service": ["*", "fc.aliyuncs.com", "ecs"#,
    );
    assert_eq!(list(&document(&[&more, &more])), "* acs:ram::1:root");
    assert_eq!(list(&document(&[&more.replace("Allow", "Deny")])), "");
    assert_eq!(list(&document(&[&more.replace("AssumeRole", "TagSession")])), "");
    assert_eq!(list(&document(&[&more.replace("sts:AssumeRole", "sts:*")])), "* acs:ram::1:root");
}

#[test]
fn an_allow_that_could_let_another_service_in_is_not_overlooked() {
    let fc = |action: &str| {
        with(r#""sts:AssumeRole""#, action).replace("ecs.aliyuncs.com", "fc.aliyuncs.com")
    };
    let assume = r#""sts:AssumeRole""#;
    for (more, is_shared) in [
        (fc(assume), true),
        (fc(r#""sts:*""#), true),
        (fc(r#""*""#), true),
        (fc(r#""sts:Assume*""#), true),
        (fc(r#""STS:AssumeRole""#), true),
        (fc(r#"["sts:TagSession", "sts:assumerole"]"#), true),
        (fc(assume).replace("fc.", "FC."), true),
        (fc(assume).replace("fc.aliyuncs.com", "*"), true),
        (fc(r#""sts:*""#).replace("Service", "RAM").replace("fc.aliyuncs.com", "*"), true),
        (fc(r#""sts:TagSession""#), false),
        (fc(r#""oss:GetObject""#), false),
        (fc(assume).replace("Allow", "Deny"), false),
        (ALLOW_ECS.to_owned(), false),
        (with(assume, r#""sts:*""#), false),
    ] {
        for statements in [[ALLOW_ECS, &more], [&more, ALLOW_ECS]] {
            let policy = TrustPolicy::parse(&document(&statements)).unwrap();
            let found = policy.could_let_in_another(TrustedRole::EcsInstance);
            assert_eq!(found, is_shared, "{more}");
            assert_eq!(policy.could_let_in_another(TrustedRole::AckWorker), is_shared, "{more}");
            // The one that it does trust is another one for the other environment.
            assert!(policy.could_let_in_another(TrustedRole::FunctionCompute), "{more}");
        }
    }
    let of_nobody = TrustPolicy::parse("{}").unwrap();
    assert!(!of_nobody.could_let_in_another(TrustedRole::EcsInstance));
}
