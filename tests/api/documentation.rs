//! The API's description of itself.

use serde_json::Value;

use crate::world::in_world;

/// The types say what the document says, and the document names every route of the template and nothing else.
#[test]
fn the_description_is_what_the_code_says_now() {
    let made = cfmp::openapi::of_workspace().unwrap_or_else(|error| panic!("{error}"));
    let kept = std::fs::read(cfmp::root().join("functions/root/openapi.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert!(
        made == kept,
        "the description is out of date: cargo run -- openapi > target/openapi.json && mv target/openapi.json functions/root/"
    );
}

#[test]
fn the_description_is_served_for_programs_and_as_a_page() {
    in_world(async |world| {
        let document = world.get("/api/openapi.json").expect(200).await;
        assert_eq!(document.headers["content-type"], "application/json");
        assert_eq!(document.json()["openapi"], "3.1.0");

        for path in ["/api/docs/", "/api/docs"] {
            let page = world.get(path).expect(200).await;
            assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
            let html = page.text();
            assert!(html.contains("<base href=\"/api/docs/\">"), "{html}");
            for file in html.split('"').filter_map(|part| part.strip_prefix("./")) {
                world.get(&format!("/api/docs/{file}")).expect(200).await;
            }
        }
        let set_up = world.get("/api/docs/swagger-initializer.js").expect(200).await;
        assert!(set_up.text().contains("/api/openapi.json"), "{}", set_up.text());
        world.get("/api/docs/nothing.js").expect(404).await;
    });
}
