/* Questions: what a program sets, and the bytes they are sent as. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "internal.h"

stile_question *stile_question_new(void) { return calloc(1, sizeof(stile_question)); }

void stile_question_free(stile_question *question) {
    if (!question) return;
    for (int part = 0; part < 4; part++) free(question->parts[part].properties);
    free(question->arena.at);
    free(question->encoded.at);
    free(question);
}

void stile_question_reset(stile_question *question) {
    if (!question) return;
    for (int part = 0; part < 4; part++) {
        question->parts[part].given = false;
        question->parts[part].count = 0;
    }
    question->arena.count = question->encoded.count = 0;
    question->arena.failed = question->encoded.failed = false;
    question->has_session = question->has_device = question->explain = question->is_encoded = false;
    question->mistake = NULL;
}

const char *stile_question_mistake(const stile_question *question) {
    return question ? question->mistake : "there is no memory for a question";
}

static void note(stile_question *question, const char *mistake) {
    if (!question->mistake) question->mistake = mistake;
}

/* Keeps an encoded text; false when it is no name. */
static bool keep_name(stile_question *question, const char *name, size_t *place, size_t *size) {
    size_t length = name ? strnlen(name, STI_MAX_NAME + 1) : 0;
    if (length == 0) {
        note(question, "a type, name or id is empty: give 1 to 256 bytes");
    } else if (length > STI_MAX_NAME) {
        note(question, "a type, name or id is longer than 256 bytes");
    } else if (!sti_is_utf8((const uint8_t *)name, length)) {
        note(question, "a type, name or id is not UTF-8");
    } else {
        *place = question->arena.count;
        sti_text(&question->arena, name, length);
        *size = question->arena.count - *place;
        if (!question->arena.failed) return true;
        note(question, "there is no memory for the question");
    }
    return false;
}

/* Every setter begins here: false for a question that cannot be used. */
static bool change(stile_question *question) {
    if (!question) return false;
    question->is_encoded = false;
    return true;
}

static void set_entity(stile_question *question, stile_part which, const char *type, const char *id) {
    struct sti_part *part = &question->parts[which];
    part->given = keep_name(question, type, &part->type, &part->type_size)
        && (which == STILE_ACTION || keep_name(question, id, &part->id, &part->id_size));
}

void stile_question_subject(stile_question *question, const char *type, const char *id) {
    if (change(question)) set_entity(question, STILE_SUBJECT, type, id);
}

void stile_question_action(stile_question *question, const char *name) {
    if (change(question)) set_entity(question, STILE_ACTION, name, NULL);
}

void stile_question_resource(stile_question *question, const char *type, const char *id) {
    if (change(question)) set_entity(question, STILE_RESOURCE, type, id);
}

void stile_question_session(stile_question *question, const char *id) {
    if (change(question))
        question->has_session = keep_name(question, id, &question->session, &question->session_size);
}

void stile_question_device(stile_question *question, const char *id) {
    if (change(question)) question->has_device = keep_name(question, id, &question->device, &question->device_size);
}

void stile_question_explain(stile_question *question, bool explain) {
    if (change(question)) question->explain = explain;
}

/* ---- Properties ---- */

static int compare_keys(const stile_question *question, const struct sti_property *left, const struct sti_property *right) {
    size_t common = left->key_size < right->key_size ? left->key_size : right->key_size;
    int order = memcmp(question->arena.at + left->key, question->arena.at + right->key, common);
    return order ? order : left->key_size < right->key_size ? -1 : left->key_size > right->key_size;
}

/* Begins a property: its key is kept and its value is what is appended to the arena until `end_property`. */
static bool begin_property(stile_question *question, stile_part part, const char *name, struct sti_property *property) {
    if (!change(question)) return false;
    if ((unsigned)part > STILE_CONTEXT) {
        note(question, "a property is for subject, action, resource or context");
        return false;
    }
    size_t length = name ? strnlen(name, STI_MAX_FRAME) : STI_MAX_FRAME;
    if (length == STI_MAX_FRAME || !sti_is_utf8((const uint8_t *)name, length)) {
        note(question, "a property has no name, or one that is too long or not UTF-8");
        return false;
    }
    property->key = question->arena.count;
    sti_text(&question->arena, name, length);
    property->key_size = question->arena.count - property->key;
    property->value = question->arena.count;
    return true;
}

static void end_property(stile_question *question, stile_part which, struct sti_property *property) {
    property->value_size = question->arena.count - property->value;
    if (question->arena.failed) {
        note(question, "there is no memory for the question");
        return;
    }
    struct sti_part *part = &question->parts[which];
    size_t at = part->count;
    while (at > 0) {
        int order = compare_keys(question, &part->properties[at - 1], property);
        if (order == 0) {
            part->properties[at - 1] = *property;
            return;
        }
        if (order < 0) break;
        at--;
    }
    if (part->count == part->room) {
        size_t room = part->room ? part->room * 2 : 8;
        struct sti_property *properties = realloc(part->properties, room * sizeof *properties);
        if (!properties) {
            note(question, "there is no memory for the question");
            return;
        }
        part->properties = properties;
        part->room = room;
    }
    memmove(part->properties + at + 1, part->properties + at, (part->count - at) * sizeof *part->properties);
    part->properties[at] = *property;
    part->count++;
}

static void append_text(stile_question *question, const char *value) {
    size_t length = value ? strnlen(value, STI_MAX_FRAME) : STI_MAX_FRAME;
    if (length == STI_MAX_FRAME || !sti_is_utf8((const uint8_t *)value, length)) {
        note(question, "a property's text is missing, too long or not UTF-8");
        return;
    }
    sti_text(&question->arena, value, length);
}

static void append_integer(stile_question *question, int64_t value) {
    if (value >= 0) sti_head(&question->arena, 0, (uint64_t)value);
    else sti_head(&question->arena, 1, ~(uint64_t)value);
}

void stile_question_text(stile_question *question, stile_part part, const char *name, const char *value) {
    struct sti_property property;
    if (!begin_property(question, part, name, &property)) return;
    append_text(question, value);
    end_property(question, part, &property);
}

void stile_question_integer(stile_question *question, stile_part part, const char *name, int64_t value) {
    struct sti_property property;
    if (!begin_property(question, part, name, &property)) return;
    append_integer(question, value);
    end_property(question, part, &property);
}

void stile_question_boolean(stile_question *question, stile_part part, const char *name, bool value) {
    struct sti_property property;
    if (!begin_property(question, part, name, &property)) return;
    sti_head(&question->arena, 7, value ? 21 : 20);
    end_property(question, part, &property);
}

void stile_question_decimal(stile_question *question, stile_part part, const char *name, int64_t mantissa, int32_t exponent) {
    struct sti_property property;
    if (!begin_property(question, part, name, &property)) return;
    sti_head(&question->arena, 6, 4);
    sti_head(&question->arena, 4, 2);
    append_integer(question, exponent);
    append_integer(question, mantissa);
    end_property(question, part, &property);
}

void stile_question_texts(
    stile_question *question, stile_part part, const char *name, const char *const *values, size_t count) {
    struct sti_property property;
    if (!begin_property(question, part, name, &property)) return;
    if (count > 0 && !values) {
        note(question, "a list of texts is missing");
        return;
    }
    sti_head(&question->arena, 4, count);
    for (size_t index = 0; index < count; index++) append_text(question, values[index]);
    end_property(question, part, &property);
}

void stile_question_cbor(stile_question *question, stile_part part, const char *name, const void *bytes, size_t count) {
    struct sti_property property;
    if (!begin_property(question, part, name, &property)) return;
    struct sti_reader reader = sti_reader(bytes, bytes ? count : 0);
    sti_skip(&reader);
    if (reader.bad || reader.at != reader.end) {
        note(question, "a property's value is no single item of deterministic CBOR");
        return;
    }
    sti_append(&question->arena, bytes, count);
    end_property(question, part, &property);
}

/* ---- Encoding ---- */

static void append_kept(struct sti_bytes *bytes, const stile_question *question, size_t place, size_t size) {
    sti_append(bytes, question->arena.at + place, size);
}

static void append_properties(struct sti_bytes *bytes, const stile_question *question, const struct sti_part *part) {
    sti_head(bytes, 5, part->count);
    for (size_t index = 0; index < part->count; index++) {
        const struct sti_property *property = &part->properties[index];
        append_kept(bytes, question, property->key, property->key_size);
        append_kept(bytes, question, property->value, property->value_size);
    }
}

static void append_entity(struct sti_bytes *bytes, const stile_question *question, stile_part which) {
    const struct sti_part *part = &question->parts[which];
    bool has_id = which != STILE_ACTION;
    sti_head(bytes, 5, 1u + has_id + (part->count > 0));
    sti_head(bytes, 0, 0);
    append_kept(bytes, question, part->type, part->type_size);
    if (has_id) {
        sti_head(bytes, 0, 1);
        append_kept(bytes, question, part->id, part->id_size);
    }
    if (part->count > 0) {
        sti_head(bytes, 0, 2);
        append_properties(bytes, question, part);
    }
}

bool sti_question_encode(stile_question *question) {
    if (!question || question->mistake) return false;
    if (question->is_encoded) return true;
    struct sti_bytes *bytes = &question->encoded;
    bytes->count = 0;
    question->fields = 0;
    for (int part = STILE_SUBJECT; part <= STILE_RESOURCE; part++) {
        if (!question->parts[part].given) {
            if (question->parts[part].count > 0) {
                note(question, "a subject, action or resource has properties and no name");
                return false;
            }
            continue;
        }
        sti_head(bytes, 0, (uint64_t)part + 2);
        append_entity(bytes, question, (stile_part)part);
        question->fields++;
    }
    if (question->parts[STILE_CONTEXT].count > 0) {
        sti_head(bytes, 0, 5);
        append_properties(bytes, question, &question->parts[STILE_CONTEXT]);
        question->fields++;
    }
    if (question->has_session) {
        sti_head(bytes, 0, 6);
        append_kept(bytes, question, question->session, question->session_size);
        question->fields++;
    }
    if (question->has_device) {
        sti_head(bytes, 0, 7);
        append_kept(bytes, question, question->device, question->device_size);
        question->fields++;
    }
    if (question->explain) {
        sti_head(bytes, 0, 8);
        sti_head(bytes, 0, 1);
        question->fields++;
    }
    if (bytes->failed) note(question, "there is no memory for the question");
    else if (bytes->count > STI_MAX_FRAME - 32) note(question, "the question is longer than a frame may be, 1 MiB");
    question->is_encoded = !question->mistake;
    return question->is_encoded;
}

static void question_frame(struct sti_bytes *bytes, const stile_question *question, uint64_t kind, uint64_t id) {
    if (!sti_reserve(bytes, question->encoded.count + 32)) return;
    size_t start = sti_frame_begin(bytes);
    sti_head(bytes, 5, question->fields + 2);
    sti_head(bytes, 0, 0);
    sti_head(bytes, 0, kind);
    sti_head(bytes, 0, 1);
    sti_head(bytes, 0, id);
    sti_append(bytes, question->encoded.at, question->encoded.count);
    sti_frame_end(bytes, start);
}

void sti_question_frame(struct sti_bytes *bytes, const stile_question *question, uint64_t id) {
    question_frame(bytes, question, STI_QUESTION, id);
}

void sti_subscribe_frame(struct sti_bytes *bytes, const stile_question *question, uint64_t id) {
    question_frame(bytes, question, STI_SUBSCRIBE, id);
}

/* A frame of kind, id and at most one more field. */
static void small_frame(struct sti_bytes *bytes, uint64_t kind, uint64_t id, uint64_t key, uint64_t value) {
    size_t start = sti_frame_begin(bytes);
    sti_head(bytes, 5, key ? 3 : 2);
    sti_head(bytes, 0, 0);
    sti_head(bytes, 0, kind);
    sti_head(bytes, 0, 1);
    sti_head(bytes, 0, id);
    if (key) sti_head(bytes, 0, key), sti_head(bytes, 0, value);
    sti_frame_end(bytes, start);
}

void sti_unsubscribe_frame(struct sti_bytes *bytes, uint64_t id, uint64_t subscription) {
    small_frame(bytes, STI_UNSUBSCRIBE, id, 22, subscription);
}

void sti_status_frame(struct sti_bytes *bytes, uint64_t id) { small_frame(bytes, STI_STATUS, id, 0, 0); }

void sti_batch_frame(
    struct sti_bytes *bytes, uint64_t id, const stile_question *defaults, stile_question *const *items, size_t count,
    stile_semantic semantic) {
    size_t start = sti_frame_begin(bytes);
    sti_head(bytes, 5, 3 + (defaults ? defaults->fields : 0) + (semantic != STILE_EXECUTE_ALL));
    sti_append(bytes, "\x00\x02\x01", 3);
    sti_head(bytes, 0, id);
    if (defaults) sti_append(bytes, defaults->encoded.at, defaults->encoded.count);
    sti_head(bytes, 0, 9);
    sti_head(bytes, 4, count);
    for (size_t index = 0; index < count; index++) {
        sti_head(bytes, 5, items[index]->fields);
        sti_append(bytes, items[index]->encoded.at, items[index]->encoded.count);
    }
    if (semantic != STILE_EXECUTE_ALL) {
        sti_head(bytes, 0, 10);
        sti_head(bytes, 0, semantic);
    }
    sti_frame_end(bytes, start);
}

stile_question *sti_question_copy(const stile_question *question) {
    stile_question *copy = stile_question_new();
    if (!copy) return NULL;
    sti_append(&copy->encoded, question->encoded.at, question->encoded.count);
    copy->fields = question->fields;
    copy->is_encoded = true;
    if (!copy->encoded.failed) return copy;
    stile_question_free(copy);
    return NULL;
}
