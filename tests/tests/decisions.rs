//! `/v1/decisions` and `/v1/systemone` in the forms of OpenAI, vLLM and SGLang.

use gavel_tests::{Response, Server, scene};
use serde_json::{Value, json};

const COLOUR: &str = "What colour is the circle?";

/// The number at `path` in the answer.
fn number(body: &Value, path: &str) -> f64 {
    body.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path} of {body}"))
}

/// The status, and the parameter that an error names.
fn blamed(response: Response) -> (u16, String) {
    let (status, body) = (response.status, response.json());
    (status, body["error"]["param"].as_str().unwrap_or_default().to_owned())
}

/// A user's message of these parts, alone in a list.
fn asked(parts: &Value) -> Value {
    json!([{ "type": "message", "role": "user", "content": parts }])
}

#[test]
fn openai_s_questions_are_answered_in_openai_s_form() {
    let server = Server::with_options(&[]);
    let body = json!({
        "model": "gpt-x",
        "input": asked(&json!([
            { "type": "input_image", "image_url": scene(), "detail": "auto" },
            { "type": "input_text", "text": "A picture.", "prompt_cache_breakpoint": { "mode": "explicit" } },
        ])),
        "questions": [
            { "type": "predicate", "name": "circle", "instructions": "There is a circle." },
            {
                "type": "choice",
                "instructions": [{ "type": "input_text", "text": COLOUR }],
                "choices": [{ "value": "orange", "description": "like the fruit" }, { "value": "purple" }],
            },
            { "type": "choice", "instructions": "Is it orange?", "choices": [{ "value": true }, { "value": false }] },
            {
                "type": "score",
                "name": "quality",
                "instructions": "How good?",
                "levels": [{ "label": "bad", "description": "a blur" }, { "label": "good" }],
            },
        ],
        "safety_identifier": "someone",
        "prompt_cache_key": "k",
        "prompt_cache_options": { "mode": "implicit", "ttl": "30m" },
    });
    let answer = server.ok("/v1/decisions", &body);
    let answers = &answer["answers"];
    assert_eq!((&answers[0]["type"], &answers[0]["name"]), (&json!("predicate"), &json!("circle")));
    let probability = number(answers, "/0/probability");
    assert!((0.0..=1.0).contains(&probability), "{answer}");
    assert_eq!(probability, number(answers, "/0/score"));
    assert!(["orange", "purple"].contains(&answers[1]["choice"].as_str().unwrap()), "{answer}");
    assert_eq!(
        (&answers[1]["name"], &answers[1]["probabilities"][0]["value"]),
        (&json!(null), &json!("orange"))
    );
    assert!(answers[2]["choice"].is_boolean(), "{answer}");
    assert_eq!(answers[2]["probabilities"][1]["value"], json!(false));
    for (level, label) in ["bad", "good"].into_iter().enumerate() {
        let told = &answers[3]["probabilities"][level];
        assert_eq!((&told["value"], &told["label"]), (&json!(level), &json!(label)));
    }
    assert!((0.0..=1.0).contains(&number(answers, "/3/score")));
    for index in 1..4 {
        let best = (0..2).map(|at| number(answers, &format!("/{index}/probabilities/{at}/probability")));
        let best = best.fold(0.0, f64::max) * number(answers, &format!("/{index}/label_mass"));
        assert!((number(answers, &format!("/{index}/confidence")) - best).abs() < 1e-6, "{answer}");
    }
    let usage = &answer["usage"];
    let input = number(usage, "/input_tokens");
    assert_eq!((number(usage, "/prompt_tokens"), number(usage, "/total_tokens")), (input, input));
    // Later questions share the image with the first.
    assert!(number(usage, "/input_tokens_details/cached_tokens") > 0.0, "{usage}");
    let zeros = [
        "/input_tokens_details/cache_write_tokens",
        "/output_tokens",
        "/output_tokens_details/reasoning_tokens",
    ];
    assert_eq!(zeros.map(|path| number(usage, path)), [0.0; 3]);
    for path in ["/decisions", "/openai/v1/decisions"] {
        assert_eq!(server.ok(path, &body)["answers"].as_array().map(Vec::len), Some(4));
    }
}

#[test]
fn messages_are_read_as_text_and_images() {
    let server = Server::with_options(&[]);
    let decide = |mut body: Value| {
        body["questions"] = json!([{ "type": "predicate", "instructions": "Is it orange?" }]);
        let answer = server.ok("/v1/decisions", &body);
        (number(&answer, "/answers/0/probability"), number(&answer, "/usage/prompt_tokens"))
    };
    let text = json!({ "type": "input_text", "text": "A picture." });
    let image = json!({ "type": "input_image", "image_url": scene() });
    let apart = decide(json!({ "input": "A picture.", "images": [scene()] }));
    for input in [
        asked(&json!([image, text])),
        asked(&json!([image, { "type": "text", "text": "A picture." }])),
        json!([image, text]),
        json!([{ "role": "user", "content": [image] }, { "role": "user", "content": "A picture." }]),
    ] {
        let read = decide(json!({ "input": input }));
        assert!((read.0 - apart.0).abs() < 1e-9 && read.1 == apart.1, "{read:?} {apart:?}");
    }
    let plain = decide(json!({ "input": "A picture." }));
    assert!(plain.1 < apart.1);
    assert_eq!(decide(json!({ "input": asked(&json!("A picture.")) })), plain);
    // Data that only looks like a conversation is shown as it is.
    let data = json!([{ "role": "cook", "content": "soup" }]);
    assert_eq!(decide(json!({ "input": data })), decide(json!({ "input": data.to_string() })));
}

#[test]
fn an_image_is_shown_as_one_or_refused_wherever_it_stands() {
    let server = Server::with_options(&[]);
    let question = json!({ "type": "predicate", "instructions": "Is it orange?" });
    let decide =
        |input: &Value| server.post("/v1/decisions", &json!({ "input": input, "questions": [question] }));
    let tokens = |input: &Value| {
        let response = decide(input);
        let (status, answer) = (response.status, response.json());
        assert_eq!(status, 200, "{input}: {answer}");
        number(&answer, "/usage/prompt_tokens")
    };
    let shown = tokens(&json!([{ "type": "input_image", "image_url": scene() }]));
    let part = json!({ "type": "image", "image": scene() });
    for input in [
        json!([part]),
        part.clone(),
        json!([{ "image_url": scene() }]),
        json!([{ "type": "image", "url": scene() }]),
        json!({ "role": "user", "content": [part] }),
    ] {
        assert_eq!(tokens(&input), shown);
    }
    for (input, param) in [
        (json!({ "scene": { "image": scene() } }), "input.scene.image"),
        (json!([{ "id": 4, "image": scene() }]), "input[0].image"),
        (json!([{ "type": "input_json", "data": [scene()] }]), "input[0].data[0]"),
        (json!(scene()), "input"),
    ] {
        let response = decide(&input);
        assert_eq!((response.status, &response.json()["error"]["param"]), (400, &json!(param)), "{input}");
    }
    let system = |extra: Value| {
        let question = json!({ "type": "choice", "instructions": COLOUR, "criteria": ["red", "orange"] });
        let mut body = json!({ "state": "x", "questions": { "a": question } });
        for (pointer, value) in extra.as_object().unwrap() {
            *body.pointer_mut(pointer).unwrap() = value.clone();
        }
        blamed(server.post("/v1/systemone", &body))
    };
    for (extra, param) in [
        (json!({ "/state": { "image": scene() } }), "state.image"),
        (json!({ "/questions/a/criteria": [scene(), "b"] }), "questions.a.criteria[0]"),
        (json!({ "/questions/a/instructions": [scene()] }), "questions.a.instructions"),
    ] {
        assert_eq!(system(extra), (400, param.to_owned()));
    }
}

#[test]
fn a_member_of_another_type_of_question_is_refused_by_its_name() {
    let server = Server::with_options(&[]);
    let questions = [
        json!({ "type": "choice", "question": "Which?", "options": ["a", "b"] }),
        json!({ "type": "score", "question": "How good?", "levels": ["bad", "good"] }),
        json!({ "type": "yes_no", "question": "Is it?", "yes": "it is" }),
        json!({ "type": "predicate", "instructions": "It is.", "no": "it is not" }),
    ];
    let decide =
        |question: &Value| server.post("/v1/decisions", &json!({ "input": "x", "questions": [question] }));
    for question in &questions {
        assert_eq!(decide(question).status, 200, "{question}");
        let others = [
            ("choices", json!(["a", "b"])),
            ("levels", json!(["a", "b"])),
            ("yes", json!("y")),
            ("no", json!("n")),
        ];
        for (name, value) in others {
            let is_own = match question["type"].as_str().unwrap() {
                "choice" => name == "choices",
                "score" => name == "levels",
                _ => ["yes", "no"].contains(&name),
            };
            if is_own {
                continue;
            }
            let mut with = question.clone();
            with[name] = value;
            assert_eq!(blamed(decide(&with)), (400, format!("questions[0].{name}")), "{with}");
            // What is not set there is no error.
            with[name] = json!(null);
            assert_eq!(decide(&with).status, 200, "{with}");
        }
    }
}

#[test]
fn what_is_blank_is_refused_or_counts_as_absent() {
    let server = Server::with_options(&[]);
    let fine = json!({ "type": "predicate", "instructions": "Is it?" });
    let decide = |input: Value, question: &Value| {
        server.post("/v1/decisions", &json!({ "input": input, "questions": [question] }))
    };
    for input in [json!(null), json!(""), json!(" \n"), json!([]), json!([{ "role": "user", "content": "" }])]
    {
        assert_eq!(blamed(decide(input.clone(), &fine)), (400, "input".to_owned()), "{input}");
    }
    for (question, param) in [
        (json!({ "type": "yes_no", "question": "" }), "questions[0].question"),
        (
            json!({ "type": "yes_no", "question": [{ "type": "input_text", "text": "" }] }),
            "questions[0].question",
        ),
        (json!({ "type": "choice", "question": "?", "options": ["a", ""] }), "questions[0].options"),
        (
            json!({ "type": "choice", "question": "?", "options": ["a", { "name": " " }] }),
            "questions[0].options",
        ),
        (json!({ "type": "score", "question": "?", "levels": ["bad", null] }), "questions[0].levels"),
    ] {
        assert_eq!(blamed(decide(json!("x"), &question)), (400, param.to_owned()), "{question}");
    }
    for unset in [json!(""), json!(null)] {
        let question = json!({ "type": "predicate", "instructions": "Is it?", "question": unset });
        let told = decide(json!("x"), &question).json();
        assert_eq!(told["answers"], decide(json!("x"), &fine).json()["answers"]);
    }
    for state in [json!(null), json!(""), json!({})] {
        let body = json!({ "state": state, "questions": { "a": { "type": "noul", "instructions": "?" } } });
        assert_eq!(blamed(server.post("/v1/systemone", &body)), (400, "state".to_owned()), "{state}");
    }
}

#[test]
fn the_answers_to_all_questions_have_a_limit() {
    let server = Server::with_options(&[]);
    let options: Vec<String> = (0..255).map(|index| format!("option {index}")).collect();
    let listed = vec![json!({ "type": "choice", "question": "Which?", "options": options }); 1029];
    let refused = server.post("/v1/decisions", &json!({ "input": "x", "questions": listed }));
    let (status, told) = (refused.status, refused.json());
    assert_eq!((status, &told["error"]["param"]), (400, &json!("questions")), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("262144"), "{told}");
}

#[test]
fn sglang_s_questions_may_be_any_json() {
    let server = Server::with_options(&[]);
    let decide = |input: &Value, questions: Value| {
        let thinking = json!({ "enable_thinking": false });
        let body = json!({ "input": input, "questions": questions, "chat_template_kwargs": thinking });
        server.ok("/v1/decisions", &body)["answers"].clone()
    };
    // All but the names of options.
    let written = |text: &dyn Fn(Value) -> Value| {
        json!([
            { "id": "a", "type": "yes_no", "question": text(json!({ "claim": "orange" })), "yes": text(json!([1])) },
            { "id": "b", "type": "score", "question": "Good?", "levels": ["bad", text(json!({ "name": "good" }))] },
            {
                "id": "c",
                "type": "choice",
                "question": text(json!(["Which?"])),
                "options": [{ "name": "x", "description": text(json!({ "k": 1 })) }, { "name": "y" }],
            },
        ])
    };
    let input = json!({ "shape": "circle" });
    let as_json = decide(&input, written(&|value| value));
    let as_text = decide(&json!(input.to_string()), written(&|value| json!(value.to_string())));
    assert_eq!(as_json, as_text);
    assert_eq!(as_json["a"]["type"], "yes_no");
}

#[test]
fn what_is_wrong_with_a_decision_is_told_by_its_path() {
    let server = Server::with_options(&[]);
    let decide = |extra: Value, question: Value| {
        let mut body = json!({ "input": "x", "images": [scene()], "questions": [question] });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        blamed(server.post("/v1/decisions", &body))
    };
    let none = || json!({});
    let choice = |extra: Value| {
        let mut question = json!({ "type": "choice", "question": "Which?" });
        question.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        question
    };
    let two = json!([{ "value": "a" }, { "value": "a" }]);
    let broken =
        json!([{ "type": "input_text", "text": "Like?" }, { "type": "input_image", "image_url": "AAAA" }]);
    let fine = || json!({ "type": "predicate", "instructions": "?" });
    for ((extra, question), param) in [
        ((none(), choice(none())), "questions[0].options"),
        ((none(), choice(json!({ "choices": two }))), "questions[0].choices"),
        ((none(), choice(json!({ "choices": [{ "value": 1 }, "b"] }))), "questions[0].choices[0]"),
        ((none(), choice(json!({ "choices": ["a", "b"], "options": ["a", "b"] }))), "questions[0].choices"),
        ((none(), choice(json!({ "instructions": "Which?" }))), "questions[0].instructions"),
        ((none(), json!({ "type": "predicate" })), "questions[0].question"),
        ((none(), json!({ "type": "score", "question": "?", "levels": ["one"] })), "questions[0].levels"),
        // An image that cannot be decoded, after one that can.
        ((none(), json!({ "type": "predicate", "instructions": broken })), "questions[0].instructions[1]"),
        ((json!({ "input": asked(&broken) }), fine()), "input[0].content[1]"),
        ((json!({ "input": asked(&json!([{ "type": "input_file" }])) }), fine()), "input[0].content[0]"),
        ((json!({ "input": [{ "role": "user", "content": "x", "note": "y" }] }), fine()), "input[0].note"),
        ((json!({ "chat_template_kwargs": { "enable_thinking": true } }), fine()), "chat_template_kwargs"),
    ] {
        assert_eq!(decide(extra, question), (400, param.to_owned()));
    }
    let twice = json!({ "id": "a", "type": "yes_no", "question": "?" });
    let refused = server.post("/v1/decisions", &json!({ "input": "x", "questions": [twice, twice] }));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("must be unique"), "{message}");
    let model = gavel_tests::reference().join("models/tiny56").to_string_lossy().into_owned();
    let small = Server::with_options(&["--model", &model, "--max-messages", "2"]);
    let turn = json!({ "role": "user", "content": "x" });
    let refused = small.post("/v1/decisions", &json!({ "input": [turn, turn, turn], "questions": [fine()] }));
    assert_eq!(blamed(refused), (400, "input".to_owned()));
}

#[test]
fn systemone_is_answered_as_vllm_and_sglang_do() {
    let server = Server::with_options(&[]);
    let body = json!({
        "model": "Qwen/Qwen3-0.6B",
        "state": { "ticket": "My card was charged twice for one order." },
        "questions": {
            "team": {
                "type": "choice",
                "instructions": "Which team should handle this ticket?",
                "criteria": { "shipping": "deliveries", "billing": "payments and refunds", "other": null },
            },
            "urgent": { "type": "noul", "criteria": { "true": "it is urgent", "false": "it can wait" } },
            "tone": { "type": "score", "instructions": { "ask": "How polite?" }, "criteria": ["rude", "polite"] },
            "held": { "type": "predicate", "instructions": "It is about money." },
        },
        "instructions": { "be": "strict" },
        "chat_template_kwargs": { "enable_thinking": false },
    });
    let answer = server.ok("/v1/systemone", &body);
    assert_eq!(answer["object"], "structured_decision");
    assert!(answer["id"].as_str().unwrap().starts_with("decision-") && number(&answer, "/created") > 1e9);
    let answers = &answer["answers"];
    assert!(["shipping", "billing", "other"].contains(&answers["team"]["choice"].as_str().unwrap()));
    let noul = &answers["urgent"];
    assert_eq!((&noul["type"], &noul["noul"]), (&json!("noul"), &noul["probabilities"]["yes"]));
    let tone = &answers["tone"];
    assert_eq!(tone["legend"], json!({ "0": "rude", "1": "polite" }));
    assert!((number(tone, "/score") - number(tone, "/probabilities/1")).abs() < 1e-9, "{tone}");
    assert!(answers["held"]["value"].is_boolean());
    for name in ["team", "urgent", "tone", "held"] {
        let mass = number(&answer, &format!("/diagnostics/{name}/label_mass"));
        assert_eq!(number(&answers[name], "/x_label_mass"), mass);
        let probabilities = answers[name]["probabilities"].as_object().unwrap().values();
        let best = probabilities.filter_map(Value::as_f64).fold(0.0, f64::max);
        assert!((number(&answers[name], "/confidence") - best * mass).abs() < 1e-6, "{answer}");
    }
    assert_eq!(number(&answer, "/usage/input_tokens"), number(&answer, "/usage/prompt_tokens"));
    assert_eq!(number(&answer, "/usage/output_tokens"), 0.0);
    let ask = |extra: Value| {
        let mut body = json!({ "state": "x", "questions": { "a": { "type": "noul", "instructions": "?" } } });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        blamed(server.post("/v1/systemone", &body))
    };
    for (extra, param) in [
        (json!({ "questions": {} }), "questions"),
        (json!({ "questions": { "a": { "type": "noul", "criteria": "yes" } } }), "questions.a.criteria"),
        (json!({ "questions": { "a": { "type": "choice", "criteria": ["b"] } } }), "questions.a.criteria"),
        (json!({ "decision_template": "{{ x }}" }), "decision_template"),
        (json!({ "images": ["AAAA"] }), "images[0]"),
    ] {
        assert_eq!(ask(extra), (400, param.to_owned()));
    }
}

#[test]
fn systemone_answers_in_the_order_of_the_questions() {
    let server = Server::with_options(&[]);
    // As text, in which nothing sorts the names.
    let body =
        r#"{"state":"x","questions":{"late":{"type":"noul"},"early":{"type":"noul"},"mid":{"type":"noul"}}}"#;
    let headers = [("content-type", "application/json")];
    let told = server.send("POST", "/v1/systemone", &headers, body.as_bytes()).text();
    for member in [r#""answers":"#, r#""diagnostics":"#] {
        let names = &told[told.find(member).unwrap()..];
        let at = ["late", "early", "mid"].map(|name| names.find(&format!(r#""{name}":"#)).unwrap());
        assert!(at.is_sorted(), "{told}");
    }
}

#[test]
fn a_seed_of_systemone_moves_the_places_of_answers() {
    let server = Server::with_options(&[]);
    let ask = |seed: Value| {
        let question =
            json!({ "type": "choice", "instructions": COLOUR, "criteria": ["red", "orange", "blue"] });
        let body = json!({ "state": "A circle.", "questions": { "a": question }, "seed": seed });
        let answer = server.ok("/v1/systemone", &body)["answers"]["a"].clone();
        ["red", "orange", "blue"].map(|name| number(&answer, &format!("/probabilities/{name}")))
    };
    let plain = ask(json!(null));
    assert_eq!((ask(json!(0)), ask(json!(3))), (plain, plain));
    assert_ne!(ask(json!(1)), plain);
    assert!((ask(json!(-1)).iter().sum::<f64>() - 1.0).abs() < 1e-6);
}
