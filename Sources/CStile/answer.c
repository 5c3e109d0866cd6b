/* Answers: one look that decides, and the whole for those who want to read it. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

/* Outcomes and kinds of an answer (grammar/decision.cddl, keys 2 and 3). */
enum { PERMIT = 0, DENY = 1, STEP_UP = 2 };
enum { KIND_PERMITTED = 0, KIND_STEP_UP = 3, KIND_ERROR = 4 };

struct stile_answer {
    bool is_constant; /* made for want of memory: is not freed */
    bool permits, permits_with_obligations, has_demand;
    stile_failure failure;
    unsigned kind;
    uint8_t decision_id[16];
    uint64_t policy_version, snapshot, evaluated_at, valid_until;
    const char *code, *message, *attribute;
    stile_demand demand;
    size_t rule_count, obligation_count;
    stile_rule *rules;
    stile_obligation *obligations;
    const uint8_t *frame;
    size_t frame_size;
};

/* ---- Looking at a frame once ---- */

/* What the fields of an answer say at once. */
struct look {
    uint64_t outcome, kind, valid_until;
    bool obliges;
    unsigned seen; /* a bit for each of the keys 2 to 13 */
};

static void look_at(struct sti_reader *reader, uint64_t key, struct look *look) {
    if (key >= 2 && key <= 13) look->seen |= 1u << key;
    switch (key) {
        case 2: look->outcome = sti_unsigned(reader); break;
        case 3: look->kind = sti_unsigned(reader); break;
        case 4:
            if (sti_read_bytes(reader).count != 16) reader->bad = true;
            break;
        case 5: case 6: case 7: sti_unsigned(reader); break;
        case 8: look->valid_until = sti_unsigned(reader); break;
        case 9: case 13:
            if (sti_major(reader) != 4) reader->bad = true;
            sti_skip(reader);
            break;
        case 10: case 11:
            if (sti_major(reader) != 5) reader->bad = true;
            sti_skip(reader);
            break;
        case 12: {
            struct sti_reader inside = *reader;
            look->obliges = sti_array(&inside) > 0;
            if (inside.bad) reader->bad = true;
            sti_skip(reader);
            break;
        }
        default: sti_skip(reader);
    }
}

/* An answer that is not wholly understood is none: the six fields that every answer has, and a permit that is one. */
static bool is_answer(const struct look *look) {
    const unsigned needed = 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7;
    return (look->seen & needed) == needed && look->outcome <= STEP_UP && look->kind <= KIND_ERROR
        && (look->outcome == PERMIT) == (look->kind == KIND_PERMITTED)
        && (look->outcome == STEP_UP) == (look->kind == KIND_STEP_UP);
}

static bool look_at_item(struct sti_reader *reader, struct look *look) {
    *look = (struct look){.valid_until = STILE_FOREVER};
    struct sti_keys keys = {{NULL, 0}};
    for (size_t count = sti_map(reader); count > 0 && !reader->bad; count--)
        look_at(reader, sti_key(reader, &keys), look);
    return !reader->bad && is_answer(look);
}

static bool check_items(struct sti_slice items, size_t *count) {
    struct sti_reader reader = sti_reader(items.at, items.count);
    size_t total = sti_array(&reader);
    for (size_t index = 0; index < total; index++) {
        struct look look;
        if (!look_at_item(&reader, &look)) return false;
    }
    *count = total;
    return !reader.bad;
}

bool sti_frame_read(const uint8_t *bytes, size_t size, struct sti_frame *frame) {
    *frame = (struct sti_frame){.kind = UINT32_MAX, .valid_until = STILE_FOREVER};
    struct look look = {.valid_until = STILE_FOREVER};
    struct sti_reader reader = sti_reader(bytes, size);
    struct sti_keys keys = {{NULL, 0}};
    bool has_subscription = false;
    size_t count = sti_map(&reader);
    /* Keys are in order, so the kind is the first: what the others mean hangs on it. */
    if (count == 0 || sti_key(&reader, &keys) != 0) return false;
    uint64_t kind = sti_unsigned(&reader);
    frame->kind = kind <= STI_ERROR ? (unsigned)kind : UINT32_MAX;
    bool has_answer = frame->kind == STI_QUESTION || frame->kind == STI_SUBSCRIBE || frame->kind == STI_PUSH;
    for (count--; count > 0 && !reader.bad; count--) {
        uint64_t key = sti_key(&reader, &keys);
        if (reader.bad) return false;
        if (key == UINT64_MAX) continue;
        if (key == 1) {
            frame->id = sti_unsigned(&reader);
            frame->has_id = true;
        } else if (key == 22) {
            frame->subscription = sti_unsigned(&reader);
            has_subscription = true;
        } else if (has_answer) {
            look_at(&reader, key, &look);
        } else if (frame->kind == STI_BATCH && key == 9) {
            if (sti_major(&reader) != 4) return false;
            frame->items = sti_skip(&reader);
        } else if (frame->kind == STI_ERROR && key == 20) {
            frame->code = sti_read_text(&reader);
        } else if (frame->kind == STI_ERROR && key == 21) {
            frame->message = sti_read_text(&reader);
        } else {
            sti_skip(&reader);
        }
    }
    if (reader.bad || reader.at != reader.end) return false;
    if (has_answer) {
        if (!is_answer(&look)) return false;
        frame->permits_with_obligations = look.outcome == PERMIT;
        frame->permits = look.outcome == PERMIT && !look.obliges;
        frame->valid_until = look.valid_until;
    }
    switch (frame->kind) {
        case STI_HELLO: case STI_GOODBYE: return true;
        case STI_QUESTION: case STI_STATUS: return frame->has_id;
        case STI_BATCH: return frame->has_id && frame->items.at && check_items(frame->items, &frame->item_count);
        case STI_SUBSCRIBE: case STI_UNSUBSCRIBE: return frame->has_id && has_subscription;
        case STI_PUSH: return has_subscription;
        case STI_ERROR: return frame->code.at != NULL;
        default: return false;
    }
}

bool sti_status_read(const uint8_t *bytes, size_t size, stile_status *status) {
    memset(status, 0, sizeof *status);
    struct sti_reader reader = sti_reader(bytes, size);
    struct sti_keys keys = {{NULL, 0}};
    bool has_state = false;
    for (size_t count = sti_map(&reader); count > 0 && !reader.bad; count--) {
        uint64_t key = sti_key(&reader, &keys);
        switch (key) {
            case 5: status->active_version = sti_unsigned(&reader); break;
            case 6: status->snapshot = sti_unsigned(&reader); break;
            case 16: status->stored_version = sti_unsigned(&reader); break;
            case 17: {
                sti_copy_text(status->state, sizeof status->state, sti_read_text(&reader));
                has_state = true;
                break;
            }
            case 18: status->answers = sti_unsigned(&reader); break;
            case 19: status->errors = sti_unsigned(&reader); break;
            case UINT64_MAX: break;
            default: sti_skip(&reader);
        }
    }
    return !reader.bad && has_state;
}

/* ---- The whole ---- */

/*
 * Texts become terminated in place, in a copy of the frame: a text has a head of a byte at least before it, over which
 * it is moved, so that there is room for the zero behind it.
 */
static const char *terminate(struct sti_slice text) {
    char *at = (char *)(uintptr_t)text.at - 1;
    memmove(at, text.at, text.count);
    at[text.count] = 0;
    return at;
}

static const char *take_text(struct sti_reader *reader) {
    struct sti_slice text = sti_read_text(reader);
    return reader->bad ? "" : terminate(text);
}

/*
 * The key of one of the maps below, as sti_key, but without holding its order: the frame has been checked whole, and
 * its keys are not compared with bytes that `terminate` may have moved.
 */
static uint64_t next_key(struct sti_reader *reader) {
    struct sti_keys keys = {{NULL, 0}};
    return sti_key(reader, &keys);
}

static void take_rule(struct sti_reader *reader, stile_rule *rule) {
    *rule = (stile_rule){"", "", 0, NULL};
    for (size_t count = sti_map(reader); count > 0 && !reader->bad; count--) switch (next_key(reader)) {
            case 0: rule->name = take_text(reader); break;
            case 1: rule->file = take_text(reader); break;
            case 2: rule->line = sti_unsigned(reader); break;
            case 3: rule->because = take_text(reader); break;
            case UINT64_MAX: break;
            default: sti_skip(reader);
        }
}

static void take_cause(struct sti_reader *reader, stile_answer *answer) {
    for (size_t count = sti_map(reader); count > 0 && !reader->bad; count--) switch (next_key(reader)) {
            case 0: answer->code = take_text(reader); break;
            case 1: answer->attribute = take_text(reader); break;
            case 2: answer->message = take_text(reader); break;
            case UINT64_MAX: break;
            default: sti_skip(reader);
        }
}

static size_t take_texts(struct sti_reader *reader, const char **texts) {
    size_t total = sti_array(reader);
    for (size_t index = 0; index < total; index++) texts[index] = take_text(reader);
    return reader->bad ? 0 : total;
}

static void take_demand(struct sti_reader *reader, stile_answer *answer, const char **texts) {
    stile_demand *demand = &answer->demand;
    answer->has_demand = true;
    demand->within_ms = STILE_FOREVER;
    for (size_t count = sti_map(reader); count > 0 && !reader->bad; count--) switch (next_key(reader)) {
            case 0: demand->level = take_text(reader); break;
            case 1: demand->within_ms = sti_unsigned(reader); break;
            case 2:
                demand->methods = texts;
                demand->method_count = take_texts(reader, texts);
                break;
            case 3:
                demand->acr_values = texts + demand->method_count;
                demand->acr_count = take_texts(reader, texts + demand->method_count);
                break;
            case UINT64_MAX: break;
            default: sti_skip(reader);
        }
}

static void take_obligation(struct sti_reader *reader, stile_obligation *obligation) {
    *obligation = (stile_obligation){"", "", NULL, 0};
    for (size_t count = sti_map(reader); count > 0 && !reader->bad; count--) switch (next_key(reader)) {
            case 0: obligation->id = take_text(reader); break;
            case 1: obligation->type = take_text(reader); break;
            case 2: {
                struct sti_slice properties = sti_skip(reader);
                obligation->properties = properties.at;
                obligation->properties_size = properties.count;
                break;
            }
            case UINT64_MAX: break;
            default: sti_skip(reader);
        }
}

/* How many of each kind of part an answer has: places to keep in its one block of memory. */
struct parts {
    size_t rules, obligations, texts;
};

static struct parts count_parts(const uint8_t *bytes, size_t size) {
    struct parts parts = {0, 0, 0};
    struct sti_reader reader = sti_reader(bytes, size);
    for (size_t count = sti_map(&reader); count > 0 && !reader.bad; count--) {
        uint64_t key = next_key(&reader);
        if (key == UINT64_MAX) continue;
        struct sti_slice value = sti_skip(&reader);
        struct sti_reader inside = sti_reader(value.at, value.count);
        if (key == 9) parts.rules = sti_array(&inside);
        if (key == 12) parts.obligations = sti_array(&inside);
        if (key == 11) parts.texts = value.count; /* each text takes a byte at least */
    }
    return parts;
}

static void take_field(struct sti_reader *reader, uint64_t key, stile_answer *answer, const char **texts) {
    switch (key) {
        case 4: {
            struct sti_slice id = sti_read_bytes(reader);
            if (id.count == 16) memcpy(answer->decision_id, id.at, 16);
            break;
        }
        case 5: answer->policy_version = sti_unsigned(reader); break;
        case 6: answer->snapshot = sti_unsigned(reader); break;
        case 7: answer->evaluated_at = sti_unsigned(reader); break;
        case 8: answer->valid_until = sti_unsigned(reader); break;
        case 9:
            answer->rule_count = sti_array(reader);
            for (size_t index = 0; index < answer->rule_count; index++) take_rule(reader, &answer->rules[index]);
            break;
        case 10: take_cause(reader, answer); break;
        case 11: take_demand(reader, answer, texts); break;
        case 12:
            answer->obligation_count = sti_array(reader);
            for (size_t index = 0; index < answer->obligation_count; index++)
                take_obligation(reader, &answer->obligations[index]);
            break;
        default: sti_skip(reader);
    }
}

static const char *const sentences[] = {"permitted", "a rule forbids it", "no rule permits it", "a step-up is needed", "the question is an error"};

/* Memory for an answer with its parts and `bytes` bytes of the frame twice, as it came and to be taken apart. */
static stile_answer *allocate(struct parts parts, size_t bytes) {
    size_t size = sizeof(stile_answer) + parts.rules * sizeof(stile_rule) + parts.obligations * sizeof(stile_obligation)
        + parts.texts * sizeof(char *) + 2 * bytes;
    stile_answer *answer = calloc(1, size);
    if (!answer) return NULL;
    answer->rules = (stile_rule *)(answer + 1);
    answer->obligations = (stile_obligation *)(answer->rules + parts.rules);
    return answer;
}

stile_answer *sti_answer_make(const uint8_t *bytes, size_t size) {
    struct look look;
    struct sti_reader reader = sti_reader(bytes, size);
    if (size == 0 || !look_at_item(&reader, &look) || reader.at != reader.end)
        return sti_answer_failed(STILE_FAILURE_PROTOCOL, NULL, NULL);
    struct parts parts = count_parts(bytes, size);
    stile_answer *answer = allocate(parts, size);
    if (!answer) return sti_answer_failed(STILE_FAILURE_MEMORY, NULL, NULL);
    const char **texts = (const char **)(answer->obligations + parts.obligations);
    uint8_t *frame = (uint8_t *)(texts + parts.texts), *copy = frame + size;
    memcpy(frame, bytes, size);
    memcpy(copy, bytes, size);
    answer->frame = frame;
    answer->frame_size = size;
    answer->kind = (unsigned)look.kind;
    answer->valid_until = STILE_FOREVER;
    answer->code = "";
    answer->message = sentences[look.kind];
    reader = sti_reader(copy, size);
    for (size_t count = sti_map(&reader); count > 0 && !reader.bad; count--) {
        uint64_t key = next_key(&reader);
        if (key != UINT64_MAX) take_field(&reader, key, answer, texts);
    }
    if (reader.bad) {
        /* A part is not what the grammar says, such as a rule whose name is a number. */
        free(answer);
        return sti_answer_failed(STILE_FAILURE_PROTOCOL, NULL, NULL);
    }
    answer->permits_with_obligations = look.outcome == PERMIT;
    answer->permits = look.outcome == PERMIT && answer->obligation_count == 0;
    return answer;
}

stile_answer *stile_reply_answer(const stile_reply *reply) {
    if (!reply) return sti_answer_failed(STILE_FAILURE_INVALID, NULL, NULL);
    struct sti_frame frame;
    if (reply->failure == STILE_FAILURE_REFUSED && sti_frame_read(reply->frame, reply->frame_size, &frame)) {
        char code[64], message[160];
        sti_copy_text(code, sizeof code, frame.code);
        sti_copy_text(message, sizeof message, frame.message);
        return sti_answer_failed(reply->failure, code, message);
    }
    if (reply->failure != STILE_FAILURE_NONE) return sti_answer_failed(reply->failure, NULL, NULL);
    return sti_answer_make(reply->frame, reply->frame_size);
}

/* ---- Failures ---- */

static const struct {
    const char *code, *message;
} failures[] = {
    [STILE_FAILURE_NONE] = {"", ""},
    [STILE_FAILURE_INVALID] = {"invalid_question", "the question or an argument is wrong"},
    [STILE_FAILURE_UNREACHABLE] = {"unreachable", "no connection to stiled: is it running, and may this user open its socket?"},
    [STILE_FAILURE_DEADLINE] = {"deadline", "stiled gave no answer in time"},
    [STILE_FAILURE_REFUSED] = {"refused", "stiled refused the question"},
    [STILE_FAILURE_PROTOCOL] = {"protocol", "what came is no answer that this library understands: is it stiled's socket?"},
    [STILE_FAILURE_CLOSED] = {"closed", "the client is closed, or belongs to the parent of this process"},
    [STILE_FAILURE_MEMORY] = {"memory", "there is no memory"},
};

static bool is_known(stile_failure failure) { return (unsigned)failure < sizeof failures / sizeof *failures; }

const char *sti_failure_code(stile_failure failure) { return is_known(failure) ? failures[failure].code : "failed"; }

const char *sti_failure_message(stile_failure failure) {
    return is_known(failure) ? failures[failure].message : "the question could not be asked";
}

static stile_answer no_memory = {
    .is_constant = true, .failure = STILE_FAILURE_MEMORY, .kind = KIND_ERROR, .valid_until = 0, .code = "memory",
    .message = "there is no memory"};

stile_answer *sti_answer_failed(stile_failure failure, const char *code, const char *message) {
    if (failure == STILE_FAILURE_NONE) failure = STILE_FAILURE_PROTOCOL;
    if (!code || !*code) code = sti_failure_code(failure);
    if (!message || !*message) message = sti_failure_message(failure);
    size_t code_size = strlen(code) + 1, message_size = strlen(message) + 1;
    stile_answer *answer = calloc(1, sizeof *answer + code_size + message_size);
    if (!answer) return &no_memory;
    char *texts = (char *)(answer + 1);
    memcpy(texts, code, code_size);
    memcpy(texts + code_size, message, message_size);
    answer->failure = failure;
    answer->kind = KIND_ERROR;
    answer->code = texts;
    answer->message = texts + code_size;
    return answer;
}

/* ---- Reading an answer. A NULL answer is a denied one. ---- */

void stile_answer_free(stile_answer *answer) {
    if (answer && !answer->is_constant) free(answer);
}

bool stile_answer_permits(const stile_answer *answer) { return answer && answer->permits; }

bool stile_answer_permits_with_obligations(const stile_answer *answer) {
    return answer && answer->permits_with_obligations;
}

const stile_demand *stile_answer_demand(const stile_answer *answer) {
    return answer && answer->kind == KIND_STEP_UP && answer->has_demand ? &answer->demand : NULL;
}

stile_failure stile_answer_failure(const stile_answer *answer) {
    return answer ? answer->failure : STILE_FAILURE_MEMORY;
}

const char *stile_answer_kind(const stile_answer *answer) {
    static const char *const names[] = {"permitted", "forbidden", "not_permitted", "step_up", "error"};
    return !answer || answer->failure != STILE_FAILURE_NONE ? "failed" : names[answer->kind];
}

const char *stile_answer_code(const stile_answer *answer) { return answer ? answer->code : no_memory.code; }
const char *stile_answer_message(const stile_answer *answer) { return answer ? answer->message : no_memory.message; }
const char *stile_answer_attribute(const stile_answer *answer) { return answer ? answer->attribute : NULL; }

const uint8_t *stile_answer_decision_id(const stile_answer *answer) {
    return answer ? answer->decision_id : no_memory.decision_id;
}

uint64_t stile_answer_policy_version(const stile_answer *answer) { return answer ? answer->policy_version : 0; }
uint64_t stile_answer_snapshot(const stile_answer *answer) { return answer ? answer->snapshot : 0; }
uint64_t stile_answer_evaluated_at(const stile_answer *answer) { return answer ? answer->evaluated_at : 0; }
uint64_t stile_answer_valid_until(const stile_answer *answer) { return answer ? answer->valid_until : 0; }
size_t stile_answer_rule_count(const stile_answer *answer) { return answer ? answer->rule_count : 0; }

const stile_rule *stile_answer_rule(const stile_answer *answer, size_t index) {
    return answer && index < answer->rule_count ? &answer->rules[index] : NULL;
}

size_t stile_answer_obligation_count(const stile_answer *answer) { return answer ? answer->obligation_count : 0; }

const stile_obligation *stile_answer_obligation(const stile_answer *answer, size_t index) {
    return answer && index < answer->obligation_count ? &answer->obligations[index] : NULL;
}

const uint8_t *stile_answer_frame(const stile_answer *answer, size_t *size) {
    if (size) *size = answer ? answer->frame_size : 0;
    return answer ? answer->frame : NULL;
}
