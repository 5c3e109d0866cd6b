/*
 * Asks in one write as many questions as the server takes in one read, each with an explanation, so that the answers are
 * more than it may leave unread; then reads. Every answer must come within five seconds.
 *
 *   greedy SOCKET FRAMES
 *
 * FRAMES: a hello, then a question whose last key is below 8.
 */
#include <sys/time.h>

#include "frames.h"

int main(int count, char **arguments) {
    if (count != 3) return 64;
    struct frames frames = read_frames(arguments[2]);
    if (frames.count < 2) return 65;
    struct stream stream = {.descriptor = join(arguments[1])};
    if (!send_frame(stream.descriptor, frame_at(&frames, 0)) || !await_frame(&stream)) return 1;
    /* The question with the bit that asks for an explanation (8: 1) behind it. */
    static unsigned char burst[16384];
    const unsigned char *question = frame_at(&frames, 1);
    size_t length = length_of(question), size = 4 + length + 2, asked = 0, used = 0;
    for (; used + size <= sizeof burst; used += size, asked++) {
        unsigned char *frame = burst + used;
        memcpy(frame, question, 4 + length);
        frame[4]++, frame[4 + length] = 8, frame[4 + length + 1] = 1;
        frame[2] = (unsigned char)((length + 2) >> 8), frame[3] = (unsigned char)(length + 2);
    }
    struct timeval patience = {.tv_sec = 5};
    setsockopt(stream.descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (!send_all(stream.descriptor, burst, used)) return 1;
    size_t bytes = 0, answered = 0;
    for (unsigned char *frame; answered < asked && (frame = await_frame(&stream)); answered++) bytes += length_of(frame);
    printf("%zu questions asked, %zu answered in %zu bytes\n", asked, answered, bytes);
    return answered == asked && bytes > 2 * sizeof burst ? 0 : 1;
}
