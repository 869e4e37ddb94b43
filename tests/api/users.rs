//! Accounts: registration, captchas, log-in, tokens, and what a user sees and changes of himself.

use std::time::Duration;

use cfmp::Options;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::inside;
use crate::world::{Ask, Member, PASSWORD, World, in_world, in_world_with, uuid_text};

const REGISTER: &str = "/api/v1/auth/register/";
const LOGIN: &str = "/api/v1/auth/login-with-password/";
const CAPTCHA: &str = "/api/v1/captcha/";
const VERIFY: &str = "/api/auth/verify-token/";
const ME: &str = "/api/v1/user/me/";

fn registration(username: &str, email: &str, captcha: &str) -> Value {
    json!({"username": username, "password": PASSWORD, "password_repeat": PASSWORD, "email": email, "captcha": captcha})
}

fn new_email() -> String {
    format!("{}@cfmp.test", uuid_text())
}

/// Asks for a captcha and reads it from the mail.
async fn captcha_for(world: &World, email: &str) -> String {
    world
        .post(CAPTCHA, &json!({"scene": "register", "email": email}))
        .expect(200)
        .await;
    world.captcha(email).await
}

/// A code that is not `captcha`.
fn other_than(captcha: &str) -> String {
    format!("{:06}", (captcha.parse::<u32>().unwrap() + 1) % 1_000_000)
}

fn patch<'a>(member: &Member<'a>, body: Value) -> Ask<'a> {
    member.ask("PATCH", ME).json(&body)
}

async fn fail_code(world: &World, path: &str, body: &Value) -> String {
    let refused = world.post(path, body).expect(400).await.json();
    assert!(
        refused["fail_msg"].as_str().is_some_and(|text| !text.is_empty()),
        "{refused}"
    );
    refused["fail_code"].as_str().unwrap_or_default().to_owned()
}

/// Changes an attribute of an account behind the system's back, as an operator would.
async fn set_user(world: &World, user: &Member<'_>, attribute: &str, value: &str) {
    let Some(platform) = world.platform() else { return };
    let change = json!({
        "TableName": platform.template().tables["UsersTable"].name,
        "Key": {"user_uuid": {"S": user.id}},
        "UpdateExpression": "SET #attribute = :value",
        "ExpressionAttributeNames": {"#attribute": attribute},
        "ExpressionAttributeValues": {":value": {"S": value}},
    });
    let (status, answer) = platform.dynamodb("UpdateItem", &change).await;
    assert!(status.is_success(), "{answer}");
}

#[test]
fn a_newcomer_registers_logs_in_and_is_seen() {
    in_world(async |world| {
        let (name, email) = (format!("新人{}", &uuid_text()[..8]), new_email());
        let sent = world
            .post(CAPTCHA, &json!({"scene": "register", "email": email}))
            .expect(200)
            .await;
        assert_eq!(sent.json()["success"], true);
        let captcha = world.captcha(&email).await;
        let made = world
            .post(REGISTER, &registration(&name, &email, &captcha))
            .expect(200)
            .await
            .json();
        assert_eq!(made["success"], true);

        // Addresses are the same in any case.
        let body = json!({"email": email.to_uppercase(), "password": PASSWORD});
        let login = world.post(LOGIN, &body).expect(200).await.json();
        assert_eq!((&login["success"], &login["user_id"]), (&json!(true), &made["user_id"]));
        assert_eq!((&login["username"], &login["privilege"]), (&json!(name), &json!(0)));
        assert!(login["avatar"].is_string());

        let token = login["access_token"].as_str().unwrap();
        let me = world.get(ME).bearer(token).expect(200).await.json();
        assert_eq!(
            (&me["user_id"], &me["username"], &me["email"]),
            (&made["user_id"], &json!(name), &json!(email))
        );
        assert_eq!(
            (&me["avatar"], &me["address"], &me["status"], &me["privilege"]),
            (&json!(""), &json!(""), &json!(0), &json!(0))
        );

        let id = made["user_id"].as_str().unwrap();
        for path in [
            format!("/api/users/{id}/"),
            format!("/api/v1/user/{id}/"),
            format!("/api/v1/user/{id}"),
        ] {
            let seen = world.get(&path).expect(200).await.json();
            let mut members: Vec<_> = seen.as_object().unwrap().keys().cloned().collect();
            members.sort();
            assert_eq!(
                members,
                ["avatar", "created_at", "privilege", "status", "user_id", "username"],
                "{path}"
            );
            assert_eq!(
                (&seen["username"], seen["created_at"].as_str().unwrap().len()),
                (&json!(name), 32)
            );
        }
    });
}

#[test]
fn every_fault_of_a_registration_has_its_code_and_names_its_field() {
    in_world(async |world| {
        let good = registration("username", "somebody@cfmp.test", "123456");
        for (field, value, code) in [
            ("username", json!(null), "MISSING_PARAM"),
            ("password", json!(""), "MISSING_PARAM"),
            ("password_repeat", json!(null), "MISSING_PARAM"),
            ("email", json!(""), "MISSING_PARAM"),
            ("captcha", json!(""), "MISSING_PARAM"),
            ("password_repeat", json!("another-1"), "PASSWORD_NOT_MATCH"),
            ("username", json!("a b"), "USERNAME_CONTAINS_SPACE"),
            ("username", json!("a".repeat(31)), "USERNAME_LENGTH"),
            ("email", json!("nobody"), "EMAIL_FORMAT_ERROR"),
            ("email", json!("张三@cfmp.test"), "EMAIL_FORMAT_ERROR"),
            (
                "email",
                json!(format!("{}@cfmp.test", "a".repeat(300))),
                "EMAIL_FORMAT_ERROR",
            ),
            ("captcha", json!(123_456), "CAPTCHA_NOT_FOUND"),
            ("captcha", json!("123456"), "CAPTCHA_NOT_FOUND"),
            ("captcha", json!(true), "INVALID_PARAM"),
            ("captcha", json!("1".repeat(33)), "INVALID_PARAM"),
            ("username", json!(5), "INVALID_PARAM"),
            ("password", json!("a".repeat(129)), "INVALID_PARAM"),
            ("email", json!(["a@cfmp.test"]), "INVALID_PARAM"),
        ] {
            let mut body = good.clone();
            body[field] = value.clone();
            let refused = world.post(REGISTER, &body).expect(400).await.json();
            assert_eq!(refused["fail_code"], code, "{field}: {value}");
            assert!(
                refused["error"]["fields"][field].is_string(),
                "{field}: {value}: {refused}"
            );
        }
        for (password, code) in [
            ("abc 123", "PASSWORD_CONTAINS_SPACE"),
            ("abc12", "PASSWORD_COMPLEXITY"),
            ("abcdefgh", "PASSWORD_COMPLEXITY"),
            ("abcdefghi0123456789", "PASSWORD_COMPLEXITY"),
        ] {
            let mut body = good.clone();
            body["password"] = json!(password);
            body["password_repeat"] = json!(password);
            assert_eq!(fail_code(world, REGISTER, &body).await, code, "{password}");
        }
        let empty = world.post(REGISTER, &json!({})).expect(400).await.json();
        assert_eq!(empty["error"]["fields"].as_object().unwrap().len(), 5);
        for body in ["", "null", "[]", "{", "{\"username\": \"\u{fffd}"] {
            world
                .ask("POST", REGISTER)
                .raw("application/json", body)
                .expect(400)
                .await;
        }
        world
            .ask("POST", REGISTER)
            .raw("application/json", &b"{\"username\": \"\xff\"}"[..])
            .expect(400)
            .await;
    });
}

#[test]
fn a_captcha_is_for_one_address_one_use_and_five_tries() {
    in_world(async |world| {
        let (one, other) = (new_email(), new_email());
        let captcha = captcha_for(world, &one).await;

        // Not for another address.
        assert_eq!(
            fail_code(world, REGISTER, &registration("x", &other, &captcha)).await,
            "CAPTCHA_NOT_FOUND"
        );
        // Four wrong ones, then the right one, as the number that a client makes of it.
        for _ in 0..4 {
            let wrong = registration(&uuid_text()[..20], &one, &other_than(&captcha));
            assert_eq!(fail_code(world, REGISTER, &wrong).await, "CAPTCHA_ERROR");
        }
        let mut right = registration(&uuid_text()[..20], &one, "");
        right["captcha"] = json!(captcha.parse::<u32>().unwrap());
        world.post(REGISTER, &right).expect(200).await;
        // Used up.
        assert_eq!(fail_code(world, REGISTER, &right).await, "CAPTCHA_NOT_FOUND");

        // Five wrong ones are too many.
        let captcha = captcha_for(world, &other).await;
        for _ in 0..5 {
            let wrong = registration(&uuid_text()[..20], &other, &other_than(&captcha));
            assert_eq!(fail_code(world, REGISTER, &wrong).await, "CAPTCHA_ERROR");
        }
        let right = registration(&uuid_text()[..20], &other, &captcha);
        assert_eq!(fail_code(world, REGISTER, &right).await, "CAPTCHA_NOT_FOUND");
    });
}

#[test]
fn guessing_a_captcha_with_many_requests_at_once_gains_nothing() {
    in_world(async |world| {
        let email = new_email();
        let captcha = captcha_for(world, &email).await;
        let guesses = join_all((0..20).map(|_| {
            let body = registration(&uuid_text()[..20], &email, &other_than(&captcha));
            async move { fail_code(world, REGISTER, &body).await }
        }))
        .await;
        assert_eq!(
            guesses.iter().filter(|code| *code == "CAPTCHA_ERROR").count(),
            5,
            "{guesses:?}"
        );
        let right = registration(&uuid_text()[..20], &email, &captcha);
        assert_eq!(fail_code(world, REGISTER, &right).await, "CAPTCHA_NOT_FOUND");
    });
}

#[test]
fn a_captcha_is_sent_once_a_minute_and_lives_for_two() {
    in_world(async |world| {
        let email = new_email();
        let ask = json!({"scene": "register", "email": email});
        let first = captcha_for(world, &email).await;
        let refused = world.post(CAPTCHA, &ask).expect(400).await.json();
        assert_eq!(refused["fail_code"], "SEND_TOO_FREQUENTLY");
        assert!((1..=60).contains(&refused["wait_time"].as_u64().unwrap()), "{refused}");
        // Neither another scene nor another spelling is another mailbox.
        let shouted = json!({"scene": "login", "email": email.to_uppercase()});
        assert_eq!(fail_code(world, CAPTCHA, &shouted).await, "SEND_TOO_FREQUENTLY");

        if world.platform().is_none() {
            return;
        }
        world.advance(Duration::from_secs(121)).await;
        let late = registration(&uuid_text()[..20], &email, &first);
        assert_eq!(fail_code(world, REGISTER, &late).await, "CAPTCHA_EXPIRED");
        // Six digits repeat once in a million.
        let second = captcha_for(world, &email).await;
        if first != second {
            assert_eq!(fail_code(world, REGISTER, &late).await, "CAPTCHA_ERROR");
        }
        world
            .post(REGISTER, &registration(&uuid_text()[..20], &email, &second))
            .expect(200)
            .await;
    });
}

#[test]
fn every_fault_of_a_captcha_request_has_its_code() {
    in_world(async |world| {
        for (body, code) in [
            (json!({}), "MISSING_PARAM"),
            (json!({"scene": "register"}), "MISSING_PARAM"),
            (json!({"scene": null, "email": "a@cfmp.test"}), "MISSING_PARAM"),
            (json!({"scene": "party", "email": "a@cfmp.test"}), "INVALID_PARAM"),
            (json!({"scene": 1, "email": "a@cfmp.test"}), "INVALID_PARAM"),
            (json!({"scene": "register", "email": "a"}), "EMAIL_FORMAT_ERROR"),
            (
                json!({"scene": "register", "email": "a@cfmp.test\r\nBcc: b@cfmp.test"}),
                "EMAIL_FORMAT_ERROR",
            ),
        ] {
            assert_eq!(fail_code(world, CAPTCHA, &body).await, code, "{body}");
        }
        // What changes an account is for its owner.
        let change = json!({"scene": "change_email", "email": new_email()});
        world.post(CAPTCHA, &change).expect(401).await;
        world.member("member").await.post(CAPTCHA, &change).expect(200).await;
    });
}

#[test]
fn a_captcha_that_can_not_be_mailed_does_not_keep_its_address_waiting() {
    let template = std::fs::read_to_string(cfmp::root().join("template.yaml")).unwrap();
    let folder = std::env::temp_dir().join(format!("cfmp-no-mail-{}", uuid_text()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("template.yaml");
    std::fs::write(&file, template.replace("ses:SendEmail", "ses:SendBounce")).unwrap();
    in_world_with(
        Options {
            template: file,
            ..Options::test()
        },
        async |world| {
            if world.platform().is_none() {
                return;
            }
            world.expect_failures(2);
            let ask = json!({"scene": "register", "email": new_email()});
            for _ in 0..2 {
                let failed = world.post(CAPTCHA, &ask).expect(503).await;
                assert_eq!(failed.json()["fail_code"], "SEND_FAILED");
                assert!(failed.headers.contains_key("retry-after"));
            }
        },
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn addresses_and_names_belong_to_one_account() {
    in_world(async |world| {
        let (name, first, second) = (uuid_text()[..20].to_owned(), new_email(), new_email());
        let captcha = captcha_for(world, &first).await;
        let made = registration(&name, &first, &captcha);
        world.post(REGISTER, &made).expect(200).await;
        // Who knows the captcha may know that the address has an account; the captcha does not work twice.
        assert_eq!(fail_code(world, REGISTER, &made).await, "USER_EXIST");

        let captcha = captcha_for(world, &second).await;
        assert_eq!(
            fail_code(world, REGISTER, &registration(&name, &second, &captcha)).await,
            "USER_EXIST"
        );
        // The captcha is still good for another name.
        world
            .post(REGISTER, &registration(&uuid_text()[..20], &second, &captcha))
            .expect(200)
            .await;
    });
}

#[test]
fn of_two_registrations_at_once_one_wins() {
    in_world(async |world| {
        // One captcha, many names: one account.
        let email = new_email();
        let captcha = captcha_for(world, &email).await;
        let answers = join_all((0..4).map(|_| {
            world
                .post(REGISTER, &registration(&uuid_text()[..20], &email, &captcha))
                .send()
        }))
        .await;
        assert_eq!(
            answers.iter().filter(|answer| answer.status == 200).count(),
            1,
            "{answers:?}"
        );

        // One name, many addresses: one account.
        let name = uuid_text()[..20].to_owned();
        let mut bodies = Vec::new();
        for _ in 0..4 {
            let email = new_email();
            let captcha = captcha_for(world, &email).await;
            bodies.push(registration(&name, &email, &captcha));
        }
        let answers = join_all(bodies.iter().map(|body| world.post(REGISTER, body).send())).await;
        assert_eq!(
            answers.iter().filter(|answer| answer.status == 200).count(),
            1,
            "{answers:?}"
        );
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(
                (refused.status.as_u16(), &refused.json()["fail_code"]),
                (400, &json!("USER_EXIST"))
            );
        }
    });
}

#[test]
fn a_wrong_password_and_an_unknown_address_are_answered_alike() {
    in_world(async |world| {
        let member = world.member("member").await;
        let mut answers = Vec::new();
        for email in [member.email.clone(), new_email()] {
            let mut answer = world
                .post(LOGIN, &json!({"email": email, "password": "wrong-1"}))
                .expect(400)
                .await
                .json();
            assert_eq!(answer["fail_code"], "PASSWORD_ERROR");
            answer["request_id"] = json!(null);
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);

        for (body, code) in [
            (json!({}), "MISSING_PARAM"),
            (json!({"email": member.email, "password": null}), "MISSING_PARAM"),
            (json!({"email": member.email, "password": 1}), "INVALID_PARAM"),
            (json!({"email": "nobody", "password": PASSWORD}), "EMAIL_FORMAT_ERROR"),
            (
                json!({"email": member.email, "password": "a".repeat(129)}),
                "INVALID_PARAM",
            ),
        ] {
            assert_eq!(fail_code(world, LOGIN, &body).await, code, "{body}");
        }
    });
}

#[test]
fn ten_failed_log_ins_close_an_address_for_a_quarter_of_an_hour() {
    in_world(async |world| {
        let member = world.member("member").await;
        // Many at once learn no more than one after the other, whether or not there is an account.
        for email in [member.email.clone(), new_email()] {
            let body = json!({"email": email, "password": "wrong-1"});
            let codes = join_all((0..16).map(|_| fail_code(world, LOGIN, &body))).await;
            assert_eq!(
                codes.iter().filter(|code| *code == "PASSWORD_ERROR").count(),
                10,
                "{codes:?}"
            );
            assert_eq!(
                codes.iter().filter(|code| *code == "TOO_MANY_ATTEMPTS").count(),
                6,
                "{codes:?}"
            );
        }
        let right = json!({"email": member.email, "password": PASSWORD});
        assert_eq!(fail_code(world, LOGIN, &right).await, "TOO_MANY_ATTEMPTS");

        if world.platform().is_some() {
            world.advance(Duration::from_secs(15 * 60)).await;
            world.post(LOGIN, &right).expect(200).await;
        }
    });
}

#[test]
fn log_ins_that_succeed_do_not_count_as_failed() {
    in_world(async |world| {
        let member = world.member("member").await;
        for _ in 0..12 {
            world.log_in(&member.email).await;
        }
    });
}

#[test]
fn a_banned_user_can_not_log_in_and_sees_that_he_is_banned() {
    in_world(async |world| {
        if world.platform().is_none() {
            return;
        }
        let member = world.member("member").await;
        set_user(world, &member, "status", "banned").await;
        let refused = world
            .post(LOGIN, &json!({"email": member.email, "password": PASSWORD}))
            .expect(401)
            .await;
        assert_eq!(refused.json()["fail_code"], "BANNED");
        // Only who knows the password is told.
        assert_eq!(
            fail_code(world, LOGIN, &json!({"email": member.email, "password": "wrong-1"})).await,
            "PASSWORD_ERROR"
        );
        assert_eq!(member.get(ME).expect(200).await.json()["status"], 1);
    });
}

#[test]
fn a_hash_by_older_rules_is_renewed_when_its_owner_logs_in() {
    // argon2id of the tests' password with 8 MiB and one pass.
    const OLD: &str =
        "$argon2id$v=19$m=8192,t=1,p=1$ktfRUJPsG/pft0WV314xRQ$/FGlQRRNdeG18goCNruIIPN2QlYCPmtTr5O9vXlLkws";
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let member = world.member("member").await;
        set_user(world, &member, "password_hash", OLD).await;
        world.log_in(&member.email).await;
        let read = json!({
            "TableName": platform.template().tables["UsersTable"].name,
            "Key": {"user_uuid": {"S": member.id}},
        });
        let (_, item) = platform.dynamodb("GetItem", &read).await;
        let hash = item["Item"]["password_hash"]["S"].as_str().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        world.log_in(&member.email).await;
    });
}

/// Anybody could make himself an administrator through PATCH me, and `me` showed the password's hash.
#[test]
fn nobody_promotes_himself() {
    in_world(async |world| {
        let member = world.member("member").await;
        let wish = json!({"privilege": 1, "status": 1, "user_id": uuid_text(), "email": "admin@cfmp.test", "password_hash": "x"});
        let before = member.get(ME).expect(200).await.json();
        assert_eq!(member.ask("PATCH", ME).json(&wish).expect(200).await.json(), before);
        assert_eq!(member.get(ME).expect(200).await.json(), before);
        assert!(!before.to_string().contains("argon2"));
        let managed = member
            .ask("PATCH", &format!("/api/root/user/{}/", member.id))
            .json(&wish)
            .send()
            .await;
        assert!(
            managed.status.is_client_error(),
            "{}: {}",
            managed.asked,
            managed.text()
        );
        assert_eq!(member.get(ME).expect(200).await.json(), before);
    });
}

#[test]
fn a_user_changes_his_name_and_his_address() {
    in_world(async |world| {
        let (one, other) = (world.member("one").await, world.member("other").await);
        let me = patch(&one, json!({"address": " 3号楼 101 "})).expect(200).await.json();
        assert_eq!(me["address"], "3号楼 101");
        let old = me["username"].as_str().unwrap().to_owned();
        let new = uuid_text()[..20].to_owned();
        let me = patch(&one, json!({"username": new})).expect(200).await.json();
        assert_eq!((&me["username"], &me["address"]), (&json!(new), &json!("3号楼 101")));
        assert_eq!(one.get(ME).expect(200).await.json(), me);

        // Taken; and the old one is free again.
        let refused = patch(&other, json!({"username": new})).expect(400).await.json();
        assert_eq!(
            (
                &refused["fail_code"],
                refused["error"]["fields"]["username"].is_string()
            ),
            (&json!("USER_EXIST"), true)
        );
        patch(&other, json!({"username": old, "address": null}))
            .expect(200)
            .await;
        // His own name is not taken from himself; nothing named is nothing changed.
        assert_eq!(
            patch(&one, json!({"username": new, "address": ""}))
                .expect(200)
                .await
                .json()["address"],
            ""
        );
        patch(&one, json!({})).expect(200).await;

        for (body, field) in [
            (json!({"username": "a b"}), "username"),
            (json!({"username": ""}), "username"),
            (json!({"username": 1}), "username"),
            (json!({"address": "a".repeat(201)}), "address"),
            (json!({"address": ["a"]}), "address"),
        ] {
            let refused = patch(&one, body.clone()).expect(400).await.json();
            assert!(refused["error"]["fields"][field].is_string(), "{body}: {refused}");
        }
        world.get(ME).expect(401).await;
        world.get(ME).header("authorization", "Bearer null").expect(401).await;
        world.get(ME).header("UUID", &one.id).expect(401).await;
    });
}

#[test]
fn of_many_who_want_one_name_at_once_one_gets_it() {
    in_world(async |world| {
        let mut people = Vec::new();
        for _ in 0..5 {
            people.push(world.member("member").await);
        }
        let name = uuid_text()[..20].to_owned();
        let wish = json!({"username": name});
        let answers = join_all(people.iter().map(|person| person.ask("PATCH", ME).json(&wish).send())).await;
        assert_eq!(
            answers.iter().filter(|answer| answer.status == 200).count(),
            1,
            "{answers:?}"
        );

        // One person's two changes at once are both made.
        let (address, name) = (json!({"address": "3号楼"}), json!({"username": uuid_text()[..20]}));
        let one = &people[0];
        let both = join_all([&address, &name].map(|body| one.ask("PATCH", ME).json(body).expect(200))).await;
        assert_eq!(both.len(), 2);
        let me = one.get(ME).expect(200).await.json();
        assert_eq!(
            (&me["address"], &me["username"]),
            (&address["address"], &name["username"])
        );
    });
}

#[test]
fn a_token_is_verified_for_whoever_asks() {
    in_world(async |world| {
        let member = world.member("member").await;
        let answer = world
            .post(VERIFY, &json!({"token": member.token}))
            .expect(200)
            .await
            .json();
        assert_eq!(
            (&answer["valid"], &answer["user_uuid"], &answer["privilege"]),
            (&json!(true), &json!(member.id), &json!(0))
        );
        assert!(answer["username"].is_string() && answer["exp"].is_u64(), "{answer}");

        let service = world.service_token("order-service").await;
        let tampered = format!("{}x", member.token);
        for token in ["x", "a.b.c", "null", service.as_str(), tampered.as_str()] {
            let refused = world.post(VERIFY, &json!({"token": token})).expect(401).await.json();
            assert_eq!(
                (&refused["valid"], &refused["fail_code"]),
                (&json!(false), &json!("TOKEN_INVALID")),
                "{token}"
            );
        }
        for (body, code) in [
            (json!({}), "MISSING_PARAM"),
            (json!({"token": ""}), "MISSING_PARAM"),
            (json!({"token": 1}), "INVALID_PARAM"),
        ] {
            assert_eq!(fail_code(world, VERIFY, &body).await, code, "{body}");
        }
        if world.platform().is_some() {
            world.advance(Duration::from_secs(24 * 60 * 60 + 10)).await;
            let refused = world
                .post(VERIFY, &json!({"token": member.token}))
                .expect(401)
                .await
                .json();
            assert_eq!(refused["fail_code"], "TOKEN_EXPIRED");
            member.get(ME).expect(401).await;
        }
    });
}

#[test]
fn the_published_keys_are_public_only() {
    in_world(async |world| {
        let mut ids = Vec::new();
        for path in ["/.well-known/jwks.json", "/.well-known/service-jwks.json"] {
            let answer = world.get(path).expect(200).await;
            let caching: Vec<_> = answer.headers.get_all("cache-control").iter().collect();
            assert_eq!(caching, ["public, max-age=60"]);
            let set = answer.json();
            let keys = set["keys"].as_array().unwrap();
            assert_eq!(keys.len(), 1);
            let is_of_users = !path.contains("service");
            assert_eq!(set["revoked"], if is_of_users { json!([]) } else { json!(null) });
            assert_eq!((&keys[0]["kty"], &keys[0]["crv"]), (&json!("OKP"), &json!("Ed25519")));
            assert!(keys[0]["kid"].is_string() && keys[0].get("d").is_none(), "{set}");
            ids.push(keys[0]["kid"].clone());
        }
        assert_ne!(ids[0], ids[1]);
    });
}

/// A user token lasted for its whole day, whatever was decided about its user.
#[test]
fn a_ban_ends_log_ins_everywhere_within_two_minutes_and_a_pardon_lets_him_log_in_again() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let administrator = inside::administrator(world, platform).await;
        let (member, other) = (world.member("member").await, world.member("other").await);
        let path = format!("/api/root/user/{}/", member.id);
        let manage = async |wish: Value| administrator.ask("PATCH", &path).json(&wish).expect(200).await.data();
        let verify = async || world.post(VERIFY, &json!({"token": member.token})).send().await;
        member.get("/api/orders/").expect(200).await;

        assert_eq!(manage(json!({"status": 1})).await["status"], 1);
        let refused = verify().await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["fail_code"]),
            (401, &json!("BANNED"))
        );
        assert_eq!(refused.json()["valid"], false);
        patch(&member, json!({"address": "3号楼"})).expect(401).await;
        world
            .post(LOGIN, &json!({"email": member.email, "password": PASSWORD}))
            .expect(401)
            .await;

        // Every function hears of it with the keys that it fetches anyway.
        world.advance(Duration::from_secs(121)).await;
        for path in [ME, "/api/orders/", "/api/notifications/"] {
            assert_eq!(member.get(path).expect(401).await.kind(), "unauthenticated", "{path}");
        }
        other.get("/api/orders/").expect(200).await;

        assert_eq!(manage(json!({"status": 0})).await["status"], 0);
        let refused = verify().await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["fail_code"]),
            (401, &json!("TOKEN_REVOKED"))
        );
        let again = world.log_in(&member.email).await;
        again.get("/api/orders/").expect(200).await;
        world.post(VERIFY, &json!({"token": again.token})).expect(200).await;

        // A revocation is told as long as a token of then could still be valid.
        let told = async || world.get("/.well-known/jwks.json").expect(200).await.json()["revoked"].clone();
        assert_eq!(told().await[0]["user_uuid"], json!(member.id));
        world.advance(Duration::from_secs(25 * 60 * 60)).await;
        assert_eq!(told().await, json!([]));
    });
}

#[test]
fn an_administrator_appoints_renames_and_demotes_others_and_never_himself() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let administrator = inside::administrator(world, platform).await;
        let (member, other) = (world.member("member").await, world.member("other").await);
        let root = |member: &Member<'_>| format!("/api/root/user/{}/", member.id);
        let path = root(&member);

        let shown = administrator.get(&path).expect(200).await;
        assert_eq!(shown.json()["code"], 200);
        let mut members: Vec<_> = shown.data().as_object().unwrap().keys().cloned().collect();
        members.sort();
        let expected = [
            "avatar",
            "created_at",
            "email",
            "privilege",
            "status",
            "user_id",
            "username",
        ];
        assert_eq!(members, expected);
        administrator.get(path.trim_end_matches('/')).expect(200).await;

        let name = uuid_text()[..20].to_owned();
        let wish = json!({"username": name, "privilege": 1, "email": "x@cfmp.test", "password_hash": "x"});
        let managed = administrator.ask("PATCH", &path).json(&wish).expect(200).await.data();
        assert_eq!(
            (&managed["username"], &managed["privilege"], &managed["email"]),
            (&json!(name), &json!(1), &json!(member.email))
        );
        assert_eq!(administrator.get(&path).expect(200).await.data(), managed);
        let taken = administrator
            .ask("PATCH", &root(&other))
            .json(&json!({"username": name}))
            .expect(400)
            .await;
        assert_eq!(taken.json()["fail_code"], "USER_EXIST");

        // Appointed from the next log-in on; demoted, that log-in ends.
        member.get(&path).expect(403).await;
        let appointed = world.log_in(&member.email).await;
        appointed.get(&path).expect(200).await;
        for wish in [json!({"privilege": 0}), json!({"status": 1})] {
            let refused = appointed.ask("PATCH", &path).json(&wish).expect(403).await;
            assert_eq!(refused.kind(), "forbidden", "{wish}");
        }
        let himself = json!({"privilege": 1, "status": 0, "username": &uuid_text()[..20]});
        appointed.ask("PATCH", &path).json(&himself).expect(200).await;
        administrator
            .ask("PATCH", &path)
            .json(&json!({"privilege": 0}))
            .expect(200)
            .await;
        let refused = appointed
            .ask("PATCH", &root(&other))
            .json(&json!({"status": 1}))
            .expect(401)
            .await;
        assert_eq!(
            refused.json()["fail_code"],
            "TOKEN_REVOKED",
            "at once where accounts are changed"
        );
        world.advance(Duration::from_secs(121)).await;
        appointed.get(&path).expect(401).await;

        let nobody = "/api/root/user/00000000-0000-4000-8000-000000000000/";
        administrator.get(nobody).expect(404).await;
        administrator
            .ask("PATCH", nobody)
            .json(&json!({"status": 1}))
            .expect(404)
            .await;
    });
}

#[test]
fn administrators_look_through_all_accounts() {
    in_world(async |world| {
        let Some(platform) = world.platform() else { return };
        let administrator = inside::administrator(world, platform).await;
        let mut people = Vec::new();
        for name in ["Zhang", "zhang", "li"] {
            world.advance(Duration::from_secs(1)).await;
            people.push(world.member(name).await);
        }
        set_user(world, &people[2], "status", "banned").await;
        let list = async |query: &str| {
            administrator
                .get(&format!("/api/v1/user/{query}"))
                .expect(200)
                .await
                .json()
        };
        let ids = |list: &Value| -> Vec<String> {
            let results = list["results"].as_array().unwrap();
            results
                .iter()
                .map(|user| user["user_id"].as_str().unwrap().to_owned())
                .collect()
        };
        let id = |position: usize| people[position].id.clone();

        let all = list("").await;
        assert_eq!(
            ids(&all),
            [id(2), id(1), id(0), administrator.id.clone()],
            "newest first"
        );
        assert_eq!(
            (&all["count"], &all["total_pages"], &all["current_page"]),
            (&json!(4), &json!(1), &json!(1))
        );
        assert_eq!(all["data"], json!({"results": all["results"], "count": 4}));
        assert_eq!(all["links"], json!({"next": null, "previous": null}));
        let shown = &all["results"][0];
        assert_eq!(
            (&shown["email"], &shown["status"], &shown["privilege"]),
            (&json!(people[2].email), &json!(1), &json!(0))
        );
        assert!(shown.get("address").is_none() && !all.to_string().contains("argon2"));

        assert_eq!(ids(&list("?username=zhang").await), [id(1), id(0)]);
        assert_eq!(ids(&list("?status=1").await), [id(2)]);
        assert_eq!(
            ids(&list("?privilege=1").await),
            std::slice::from_ref(&administrator.id)
        );
        assert_eq!(
            ids(&list("?privilege=0&status=0&username=&page=").await),
            [id(1), id(0)]
        );
        let second = list("?page=2&page_size=3").await;
        assert_eq!(
            (ids(&second), &second["count"]),
            (vec![administrator.id.clone()], &json!(4))
        );
        let previous = second["links"]["previous"].as_str().unwrap();
        assert_eq!(
            ids(&administrator.get(previous).expect(200).await.json()),
            [id(2), id(1), id(0)]
        );
        assert_eq!(ids(&list("?page=9").await), [""; 0]);
        for (query, field) in [
            ("?page=0", "page"),
            ("?status=2", "status"),
            ("?privilege=x", "privilege"),
            ("?username=%00", "username"),
        ] {
            let refused = administrator
                .get(&format!("/api/v1/user/{query}"))
                .expect(400)
                .await
                .json();
            assert!(refused["error"]["fields"][field].is_string(), "{query}: {refused}");
        }
        people[0].get("/api/v1/user/").expect(403).await;
        world.get("/api/v1/user/").expect(401).await;
    });
}

#[test]
fn a_user_who_is_not_there_is_not_found() {
    in_world(async |world| {
        let nobody = "00000000-0000-4000-8000-000000000000";
        assert_eq!(
            world.get(&format!("/api/users/{nobody}/")).expect(404).await.kind(),
            "not-found"
        );
        assert_eq!(world.get("/api/users/7/").expect(400).await.kind(), "invalid-field");
        // Services ask too.
        let token = world.service_token("notification-service").await;
        let member = world.member("member").await;
        world
            .get(&format!("/api/users/{}", member.id))
            .bearer(&token)
            .expect(200)
            .await;
        // But they are nobody's current user.
        world.get(ME).bearer(&token).expect(403).await;
    });
}

#[test]
fn behind_the_front_a_slash_is_folded_by_a_redirect() {
    let bare = Options {
        edge: false,
        ..Options::test()
    };
    in_world_with(bare, async |world| {
        if world.platform().is_none() {
            return;
        }
        let query = "a=1&a=2&b=%E4%BD%A0+%2F&c&=d&e=%zz";
        for (method, path, location) in [
            ("GET", "/api/v1/user/me/".to_owned(), "/api/v1/user/me".to_owned()),
            ("POST", "/api/v1/captcha/".to_owned(), "/api/v1/captcha".to_owned()),
            ("PATCH", format!("/api/orders/?{query}"), format!("/api/orders?{query}")),
            (
                "DELETE",
                "/api/nowhere%20%E4%B8%89/".to_owned(),
                "/api/nowhere%20%E4%B8%89".to_owned(),
            ),
        ] {
            let answer = world.ask(method, &path).expect(308).await;
            assert_eq!(answer.headers["location"], location.as_str(), "{method} {path}");
        }
        world
            .post("/api/v1/captcha", &json!({"scene": "register", "email": new_email()}))
            .expect(200)
            .await;
        for path in ["/", "/nowhere", "/nowhere/", "/api", "/api/nowhere", "//evil.example/"] {
            let answer = world.get(path).expect(404).await.json();
            assert_eq!(
                (&answer["code"], &answer["error"]["type"]),
                (&json!(404), &json!("no-such-route")),
                "{path}"
            );
        }
    });
}
