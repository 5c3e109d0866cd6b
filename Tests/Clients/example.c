/* The example of README.md and of the manual page, held by the tests. Arguments: the socket and the tenant. */
#include <stdio.h>

#include <stile.h>

int main(int count, char **arguments) {
    if (count != 3) return 64;
    stile_options options = STILE_OPTIONS_INIT;
    options.socket_path = arguments[1];
    options.tenant = arguments[2];
    stile_client *client = stile_client_open(&options);
    stile_question *question = stile_question_new();
    stile_question_subject(question, "user", "bob");
    stile_question_action(question, "read");
    stile_question_resource(question, "payrun", "2026-11");
    stile_question_session(question, "s-bob");

    stile_answer *answer;
    if (stile_ask(client, question, &answer))
        printf("permitted by %s\n", stile_answer_rule(answer, 0)->name);
    else
        printf("%s: %s\n", stile_answer_kind(answer), stile_answer_message(answer));

    stile_answer_free(answer);
    stile_question_free(question);
    stile_client_close(client);
    return 0;
}
