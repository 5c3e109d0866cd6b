/*
 * Feeds bytes to what libstile reads from a server. With -DLIBFUZZER and clang's -fsanitize=fuzzer it is a target of
 * libFuzzer; else it mutates sample frames by itself:
 *
 *   libstile_fuzz COUNT SEED
 *
 * Held: no read outside of the bytes (address sanitizer), every text of an answer ends, and one frame is understood
 * the same by the look that decides and by the whole answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "FAILED: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static size_t touched;
static void touch(const char *text) { touched += text ? strlen(text) : 0; }

/* Reads all there is of an answer. */
static void read_answer(const stile_answer *answer) {
    touch(stile_answer_kind(answer)), touch(stile_answer_code(answer)), touch(stile_answer_message(answer));
    touch(stile_answer_attribute(answer));
    for (size_t index = 0; index < stile_answer_rule_count(answer); index++) {
        const stile_rule *rule = stile_answer_rule(answer, index);
        touch(rule->name), touch(rule->file), touch(rule->because);
    }
    for (size_t index = 0; index < stile_answer_obligation_count(answer); index++) {
        const stile_obligation *obligation = stile_answer_obligation(answer, index);
        touch(obligation->id), touch(obligation->type);
        for (size_t at = 0; at < obligation->properties_size; at++) touched += obligation->properties[at];
    }
    const stile_demand *demand = stile_answer_demand(answer);
    if (demand) {
        touch(demand->level);
        for (size_t index = 0; index < demand->method_count; index++) touch(demand->methods[index]);
        for (size_t index = 0; index < demand->acr_count; index++) touch(demand->acr_values[index]);
    }
    MUST(!stile_answer_permits(answer) || (stile_answer_failure(answer) == STILE_FAILURE_NONE && !demand));
    MUST(!stile_answer_permits(answer) || stile_answer_permits_with_obligations(answer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A copy of its own, so that a read beyond the end is one beyond a block of memory. */
    uint8_t *bytes = malloc(size ? size : 1);
    MUST(bytes);
    memcpy(bytes, data, size);
    struct sti_frame frame;
    bool is_frame = sti_frame_read(bytes, size, &frame);
    MUST(is_frame || !(frame.permits || frame.permits_with_obligations) || frame.kind != STI_QUESTION);
    stile_answer *answer = sti_answer_make(bytes, size);
    read_answer(answer);
    if (is_frame && frame.kind == STI_QUESTION && stile_answer_failure(answer) == STILE_FAILURE_NONE)
        MUST(frame.permits == stile_answer_permits(answer));
    stile_answer_free(answer);
    if (is_frame && frame.kind == STI_BATCH) {
        struct sti_reader reader = sti_reader(frame.items.at, frame.items.count);
        size_t count = sti_array(&reader);
        MUST(count == frame.item_count);
        for (size_t index = 0; index < count; index++) {
            struct sti_slice item = sti_skip(&reader);
            MUST(!reader.bad);
            answer = sti_answer_make(item.at, item.count);
            read_answer(answer);
            stile_answer_free(answer);
        }
    }
    stile_status status;
    if (sti_status_read(bytes, size, &status)) {
        MUST(strlen(status.state) < sizeof status.state);
        MUST(sti_is_utf8((uint8_t *)status.state, strlen(status.state)));
    }
    stile_question *question = stile_question_new();
    stile_question_cbor(question, STILE_CONTEXT, "x", bytes, size);
    if (!stile_question_mistake(question)) MUST(sti_question_encode(question));
    stile_question_free(question);
    free(bytes);
    return 0;
}

#ifndef LIBFUZZER
static uint64_t state;
static uint64_t draw(uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % bound;
}

/* Frames that are understood: a permit with everything, a step-up, a batch, a status, an error. */
static const struct {
    const char *bytes;
    size_t size;
} samples[] = {
#define SAMPLE(text) {text, sizeof text - 1}
#define ID "\x50" "0123456789abcdef"
    SAMPLE("\xaa\x00\x01\x01\x05\x02\x00\x03\x00\x04" ID "\x05\x01\x06\x18\x2a\x07\x1a\x01\x02\x03\x04\x08\x1a\x01\x02\x03\x05"
           "\x09\x82\xa3\x00\x61" "a\x01\x61" "b\x02\x09\xa4\x00\x63" "abc\x01\x60\x02\x18\x64\x03\x62\xc3\xa4"),
    SAMPLE("\xaa\x00\x01\x01\x19\x01\x00\x02\x02\x03\x03\x04" ID "\x05\x01\x06\x02\x07\x03"
           "\x0b\xa4\x00\x63" "mfa\x01\x1a\x00\x0d\xbb\xa0\x02\x82\x63" "otp\x63" "pwd\x03\x81\x65" "urn:x"
           "\x0c\x81\xa3\x00\x67" "step-up\x01\x67" "step-up\x02\xa2\x61" "a\x01\x61" "b\xc4\x82\x20\x18\x19"),
    SAMPLE("\xa9\x00\x01\x01\x05\x02\x01\x03\x04\x04" ID "\x05\x01\x06\x02\x07\x03"
           "\x0a\xa3\x00\x61" "c\x01\x61" "a\x02\x62" "no"),
    SAMPLE("\xa3\x00\x02\x01\x07\x09\x82\xa6\x02\x00\x03\x00\x04" ID "\x05\x01\x06\x02\x07\x03\xa6\x02\x01\x03\x02\x04" ID
           "\x05\x01\x06\x02\x07\x03"),
    SAMPLE("\xa9\x00\x03\x01\x01\x05\x01\x06\x02\x0c\x64" "acme\x10\x01\x11\x65" "ready\x12\x03\x13\x04"),
    SAMPLE("\xa3\x00\x0f\x14\x63" "bad\x15\x62" "no"),
};

int main(int count, char **arguments) {
    if (count != 3) return 64;
    long total = atol(arguments[1]), understood = 0;
    state = strtoull(arguments[2], NULL, 10);
    static uint8_t bytes[512];
    for (size_t index = 0; index < sizeof samples / sizeof *samples; index++) {
        struct sti_frame frame;
        MUST(sti_frame_read((const uint8_t *)samples[index].bytes, samples[index].size, &frame));
    }
    for (long round = 0; round < total; round++) {
        size_t which = draw(sizeof samples / sizeof *samples), size = samples[which].size;
        memcpy(bytes, samples[which].bytes, size);
        for (uint64_t change = draw(4); change > 0; change--) switch (draw(5)) {
                case 0: bytes[draw(size)] = (uint8_t)draw(256); break;
                case 1: bytes[draw(size)] ^= (uint8_t)(1u << draw(8)); break;
                case 2: size = 1 + draw(size); break;
                case 3: {
                    size_t from = draw(size), to = draw(size), length = draw(size - (from > to ? from : to)) + 1;
                    memmove(bytes + to, bytes + from, length);
                    break;
                }
                default:
                    if (size < sizeof bytes - 16) {
                        size_t at = draw(size), more = 1 + draw(8);
                        memmove(bytes + at + more, bytes + at, size - at);
                        size += more;
                    }
            }
        struct sti_frame frame;
        understood += sti_frame_read(bytes, size, &frame);
        LLVMFuzzerTestOneInput(bytes, size);
    }
    printf("%ld frames, %ld of them understood, %zu bytes of text read\n", total, understood, touched);
    return 0;
}
#endif
