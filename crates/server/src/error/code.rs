//! The codes of errors: what is wrong, for programs. All are an interface, listed in `docs/errors.md`.

#[cfg(test)]
mod tests;

use serde::{Serialize, Serializer};

/// Defines all codes, each with its text and with what it says.
macro_rules! codes {
    ($($name:ident = $text:literal, $meaning:literal;)*) => {
        /// What is wrong, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ErrorCode {
            $(#[doc = $meaning] $name,)*
        }

        impl ErrorCode {
            /// The code as it is sent.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        /// All codes, each with what it says.
        #[cfg(test)]
        const ALL: &[(ErrorCode, &str)] = &[$((ErrorCode::$name, $meaning)),*];
    };
}

codes! {
    InvalidRequest = "invalid_request", "A parameter has the wrong form, is missing, or does not go with another one.";
    InvalidValue = "invalid_value", "A value is outside its bounds.";
    UnsupportedParameter = "unsupported_parameter",
        "A parameter that would change what is answered, and is not offered.";
    UnsupportedContent = "unsupported_content", "A part of a message is of a type that is not read here.";
    ArrayTooLong = "array_too_long", "A list has more elements than its limit.";
    StringTooLong = "string_too_long", "A text is longer than its limit.";
    ObjectTooLarge = "object_too_large", "An object has more members than its limit.";
    JsonTooDeep = "json_too_deep", "The body is nested more deeply than its limit.";
    InvalidJson = "invalid_json", "The body is not JSON.";
    InvalidQuery = "invalid_query", "A parameter of the URL is unknown, or has the wrong form.";
    InvalidForm = "invalid_form", "An upload is no multipart form, or lacks one of its fields.";
    EmptyBatch = "empty_batch", "A list that needs an element has none.";
    EmptyPrompt = "empty_prompt", "The prompt has no token.";
    ContextLengthExceeded = "context_length_exceeded", "The prompt is longer than what the critic can read.";
    UnknownToken = "unknown_token", "The critic has no token of this id or text.";
    InvalidSchema = "invalid_schema", "A JSON schema or a pattern cannot be followed.";
    InvalidConversation = "invalid_conversation", "The chat template refuses the messages.";
    UnknownTranscript = "unknown_transcript", "A text is no transcript in any known format.";

    UnknownRubric = "unknown_rubric", "There is no rubric of this name.";
    InvalidRubric = "invalid_rubric", "The rubric, or its criteria or scale in the request, cannot be used like this.";
    UnsupportedRubric = "unsupported_rubric", "The critic has no prompt for this rubric.";
    MissingField = "missing_field", "The rubric needs a member that the request lacks.";
    UnknownFormat = "unknown_format", "The critic has no answer format of this name.";
    UnknownForm = "unknown_form", "There is no form of this name.";
    NoRewardHead = "no_reward_head", "The critic has no reward head.";
    ReceiptMismatch = "receipt_mismatch", "The verdict was made under other conditions than those of the receipt.";
    ReferenceRequired = "reference_required", "A sample has no reference, and the URL requires one.";
    ImageRequired = "image_required", "A sample has no image, and the URL requires one.";
    UnparsableVerdict = "unparsable_verdict", "The critic's text, in `text`, has no verdict.";
    EmptyCompletion = "empty_completion", "The critic wrote nothing.";

    InvalidImage = "invalid_image", "An image cannot be used.";
    InvalidImageUrl = "invalid_image_url", "An image's URL is malformed, or of a scheme that is never fetched.";
    InvalidBase64Image = "invalid_base64_image", "An image is no base64.";
    FailedToDownloadImage = "failed_to_download_image",
        "An image could not be fetched, or nothing is fetched from there.";
    UnknownImage = "unknown_image", "A placeholder or a name refers to no image of the request.";
    EmptyImageFile = "empty_image_file", "An image has no bytes.";
    UnsupportedImageMediaType = "unsupported_image_media_type",
        "An image has a format that is not read: PNG, JPEG, WebP, GIF and BMP are.";
    ImageParseError = "image_parse_error", "An image is damaged.";
    ImageDecodeTimeout = "image_decode_timeout", "An image took too long to decode.";
    ImageFileTooLarge = "image_file_too_large", "An image's file is larger than its limit.";
    ImageTooLarge = "image_too_large", "An image has more pixels than its limit.";
    TooManyImages = "too_many_images", "A question has more images than its limit, or they are too large together.";
    InvalidVideo = "invalid_video", "A video has no frame.";

    InvalidApiKey = "invalid_api_key", "The key is missing or unknown.";
    TooManyWrongKeys = "too_many_wrong_keys", "Too many wrong keys came from this address.";
    Forbidden = "forbidden", "The key may not do this.";
    InvalidHost = "invalid_host", "The request does not say its host once.";
    HostNotAllowed = "host_not_allowed", "The server does not answer for this host.";
    UriTooLong = "uri_too_long", "The URL is longer than its limit.";
    HeaderTooLarge = "header_too_large", "A header is larger than its limit.";
    UnsupportedEncoding = "unsupported_encoding", "The body is compressed, which is not read.";
    UnsupportedMediaType = "unsupported_media_type", "The body is of a media type that the route does not read.";
    RequestTooLarge = "request_too_large", "The body is larger than its limit.";
    IncompleteBody = "incomplete_body", "The connection ended before the body did.";
    RequestTimeout = "request_timeout", "The body came too slowly.";
    NotFound = "not_found", "There is nothing at this path or of this id.";
    MethodNotAllowed = "method_not_allowed", "The route has no such method.";
    ModelNotFound = "model_not_found", "The server does not serve this model.";

    RateLimitExceeded = "rate_limit_exceeded",
        "A quota of the key is exhausted, or for clients of OpenAI's interface the queue is full.";
    Overloaded = "overloaded", "The server has no room for the request now.";
    QueueTimeout = "queue_timeout", "The request waited too long for its turn, and nothing was done for it.";
    DeadlineExceeded = "deadline_exceeded", "The time limit of the request was over.";
    Starting = "starting", "The critic is being loaded.";
    Draining = "draining", "The server is stopping.";
    NotReady = "not_ready", "The server starts or stops.";
    Stopped = "stopped", "The engine has stopped.";
    Stalled = "stalled", "The engine is in a step that takes too long.";
    NumericalErrors = "numerical_errors", "The model wrote no numbers for several requests in the last minute.";

    NoDataDir = "no_data_dir", "The server has no storage for files and batches.";
    UnknownFile = "unknown_file", "There is no file of this id.";
    InvalidPurpose = "invalid_purpose", "A file was uploaded for another purpose.";
    FileInUse = "file_in_use", "A batch that has not ended reads or writes the file.";
    FileTooLarge = "file_too_large", "A file is larger than its limit.";
    TooManyFiles = "too_many_files", "There are as many files as their limit.";
    TooManyBatches = "too_many_batches", "There are as many unfinished batches as their limit.";
    StorageFull = "storage_full", "Files take as much room as their limit.";
    StorageUnavailable = "storage_unavailable", "The disk is full or fails.";
    StorageFailed = "storage_failed", "The storage failed.";
    IdempotencyKeyReused = "idempotency_key_reused", "Another batch was begun by this idempotency key.";
    BatchExpired = "batch_expired", "A line was not run before the completion window of its batch was over.";
    AnswerLost = "answer_lost", "The answer to a line broke off, or is too large.";
    EmptyFile = "empty_file", "The input of a batch has no line.";
    TooManyLines = "too_many_lines", "The input of a batch has more lines than its limit.";
    LineTooLong = "line_too_long", "A line is longer than its limit.";
    InvalidJsonLine = "invalid_json_line", "A line is no request as JSON.";
    MissingRequiredParameter = "missing_required_parameter", "A line lacks its `custom_id` or its `body`.";
    InvalidCustomId = "invalid_custom_id", "The `custom_id` of a line is too long.";
    DuplicateCustomId = "duplicate_custom_id", "An earlier line has the same `custom_id`.";
    InvalidMethod = "invalid_method", "The method of a line is not POST.";
    MismatchedUrl = "mismatched_url", "The `url` of a line is not the endpoint of its batch.";

    Quarantined = "quarantined", "The same request made the engine fail before, and is not tried again.";
    NumericalError = "numerical_error", "The model wrote values that are no numbers.";
    EngineFailure = "engine_failure", "The engine failed on this request.";
    TokenizerFailed = "tokenizer_failed", "The tokenizer failed on this request.";
    Misconfigured = "misconfigured", "A text of the server's configuration cannot be used.";
    InternalError = "internal_error", "The server failed on this request.";
    InvalidConfiguration = "invalid_configuration", "The files of the configuration cannot be read again.";
    NoConfigDir = "no_config_dir", "The server has no folder with a configuration.";
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
