//! async-openai as a client: what it makes of completions, streams, log-probabilities, errors and models.
//!
//! Takes the server's `http://host:port` and the path of a picture, and panics when something is not as it should be.

use async_openai::{
    Client,
    config::{AzureConfig, OpenAIConfig},
    error::OpenAIError,
    types::chat::{
        ChatCompletionRequestMessageContentPartImage, ChatCompletionRequestMessageContentPartText,
        ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
        FinishReason, ImageUrl, Role,
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("an address and a picture are needed".into());
    };
    let config = OpenAIConfig::new().with_api_base(format!("{address}/v1")).with_api_key("any");
    let client = Client::with_config(config);
    let request = request(&std::fs::read(picture)?)?;
    models(&client).await?;
    let text = chat(&client, &request).await?;
    stream(&client, &request, &text).await?;
    logprobs(&client, &request).await?;
    errors(&client, &request).await?;
    azure(&address, &request, &text).await?;
    println!("all well");
    Ok(())
}

/// A question about a picture.
fn request(picture: &[u8]) -> Result<CreateChatCompletionRequest, Error> {
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(picture));
    let text = ChatCompletionRequestMessageContentPartText {
        text: "Describe the image.".into(),
        ..Default::default()
    };
    let image = ChatCompletionRequestMessageContentPartImage {
        image_url: ImageUrl { url, detail: None },
        ..Default::default()
    };
    let message =
        ChatCompletionRequestUserMessageArgs::default().content(vec![text.into(), image.into()]).build()?;
    let mut request = CreateChatCompletionRequestArgs::default();
    Ok(request.model("gpt-4o").messages([message.into()]).max_completion_tokens(24_u32).build()?)
}

async fn models(client: &Client<OpenAIConfig>) -> Result<(), Error> {
    let models = client.models().list().await?;
    assert_eq!(models.data.len(), 1);
    assert_eq!(models.data[0].id, "gavel-mini");
    assert_eq!(client.models().retrieve("gpt-4o").await?.id, "gpt-4o");
    Ok(())
}

async fn chat(client: &Client<OpenAIConfig>, request: &CreateChatCompletionRequest) -> Result<String, Error> {
    let completion = client.chat().create(request.clone()).await?;
    assert_eq!(completion.choices.len(), 1);
    let choice = &completion.choices[0];
    assert_eq!(choice.message.role, Role::Assistant);
    assert!(matches!(choice.finish_reason, Some(FinishReason::Stop | FinishReason::Length)));
    let usage = completion.usage.ok_or("no usage")?;
    assert_eq!(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
    let text = choice.message.content.clone().ok_or("no content")?;
    assert!(!text.is_empty());
    Ok(text)
}

async fn stream(
    client: &Client<OpenAIConfig>,
    request: &CreateChatCompletionRequest,
    whole: &str,
) -> Result<(), Error> {
    let mut stream = client.chat().create_stream(request.clone()).await?;
    let (mut text, mut finish) = (String::new(), None);
    while let Some(chunk) = stream.next().await {
        for choice in chunk?.choices {
            text += choice.delta.content.as_deref().unwrap_or_default();
            finish = choice.finish_reason.or(finish);
        }
    }
    assert_eq!(text, whole);
    assert!(finish.is_some());
    Ok(())
}

async fn logprobs(client: &Client<OpenAIConfig>, request: &CreateChatCompletionRequest) -> Result<(), Error> {
    let mut request = request.clone();
    request.logprobs = Some(true);
    request.top_logprobs = Some(20);
    request.n = Some(2);
    let completion = client.chat().create(request).await?;
    assert_eq!(completion.choices.len(), 2);
    for choice in completion.choices {
        let tokens = choice.logprobs.and_then(|logprobs| logprobs.content).ok_or("no log-probabilities")?;
        let bytes: Vec<u8> =
            tokens.iter().flat_map(|token| token.bytes.clone().unwrap_or_default()).collect();
        assert_eq!(Some(String::from_utf8_lossy(&bytes).into_owned()), choice.message.content);
        assert!(tokens.iter().all(|token| token.top_logprobs.len() == 20 && token.logprob <= 0.0));
    }
    Ok(())
}

async fn errors(client: &Client<OpenAIConfig>, request: &CreateChatCompletionRequest) -> Result<(), Error> {
    let mut request = request.clone();
    request.temperature = Some(9.0);
    match client.chat().create(request).await {
        Err(OpenAIError::ApiError(error)) => {
            let error = error.api_error;
            assert_eq!(error.param.as_deref(), Some("temperature"), "{error}");
            assert_eq!(error.code.as_deref(), Some("invalid_request"), "{error}");
            Ok(())
        }
        other => Err(format!("a wrong temperature gave {other:?}").into()),
    }
}

async fn azure(address: &str, request: &CreateChatCompletionRequest, whole: &str) -> Result<(), Error> {
    let config = AzureConfig::new()
        .with_api_base(address)
        .with_api_version("2024-06-01")
        .with_deployment_id("a-deployment")
        .with_api_key("any");
    let completion = Client::with_config(config).chat().create(request.clone()).await?;
    assert_eq!(completion.choices[0].message.content.as_deref(), Some(whole));
    Ok(())
}
