"""Holds the Python client to its promises, against a running stiled and a server that misbehaves (strange.c).

    stile_test.py STILED_SOCKET TENANT STRANGE_SOCKET

The tenant has the policies and data of policies/ledger.
"""

import os
import sys
import threading
import time
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Sources", "PythonClient"))
import stile  # noqa: E402

STILED, TENANT, STRANGE = sys.argv[1:4]


def approve(client, user="ada", session="s-ada", total=90_000, **more):
    payrun = ("payrun", "p1", {"total": total, "status": "draft", "created_by": "bob"})
    device = None if session else "laptop-1"
    return client.ask(("user", user), "approve", payrun, session=session, device=device, **more)


class WithStiled(unittest.TestCase):
    def setUp(self):
        self.client = stile.Client(TENANT, STILED, timeout=10)
        self.addCleanup(self.client.close)

    def test_a_permit_comes_with_its_rule(self):
        decision = approve(self.client)
        self.assertIs(decision.permitted, True)
        self.assertEqual(decision.rules[0]["name"], "Payroll/approve")
        self.assertEqual((decision.kind, len(decision.decision_id)), ("permitted", 16))

    def test_a_step_up_is_no_permit_and_says_what_it_demands(self):
        decision = approve(self.client, session="s-ada-old")
        self.assertIs(decision.permitted, False)
        self.assertEqual((decision.step_up["level"], decision.step_up["within_ms"]), ("mfa", 900_000))

    def test_a_denial_says_because(self):
        decision = approve(self.client, user="cho", session=None)
        self.assertEqual((decision.kind, decision.permitted), ("forbidden", False))
        self.assertEqual(decision.rules[0]["because"], "Only employees approve payroll.")

    def test_decimals_count_exactly_and_floats_are_not_taken(self):
        self.assertTrue(approve(self.client, total=Decimal("250000.00")).permitted)
        self.assertFalse(approve(self.client, total=Decimal("250000.01")).permitted)
        with self.assertRaises(TypeError):
            approve(self.client, total=0.1)

    def test_a_question_that_is_an_error_names_the_attribute(self):
        decision = approve(self.client, total="much")
        self.assertEqual((decision.kind, decision.attribute), ("error", "resource.total"))

    def test_a_decision_has_no_truth_value(self):
        with self.assertRaises(TypeError):
            bool(approve(self.client))

    def test_a_batch_has_one_snapshot_and_defaults(self):
        defaults = stile.question(
            ("user", "ada"), "approve", ("payrun", "p", {"total": 1, "status": "draft", "created_by": "bob"}), session="s-ada"
        )
        items = [stile.question(), stile.question(session="s-ada-old"), stile.question()]
        decisions = self.client.ask_batch(items, defaults)
        self.assertEqual([one.permitted for one in decisions], [True, False, True])
        self.assertEqual(len({one.snapshot for one in decisions}), 1)
        decisions = self.client.ask_batch(items, defaults, semantic="deny_on_first_deny")
        self.assertEqual([one.kind for one in decisions], ["permitted", "step_up", "failed"])
        self.assertEqual(decisions[2].code, "not_evaluated")

    def test_threads_have_each_their_own_answers(self):
        wrong = []

        def ask(permitted):
            for _ in range(200):
                decision = approve(self.client) if permitted else approve(self.client, user="cho", session=None)
                if decision.permitted is not permitted:
                    wrong.append(decision)

        threads = [threading.Thread(target=ask, args=(index % 2 == 0,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_a_wrong_tenant_is_refused(self):
        with stile.Client("no-such-tenant", STILED) as client:
            decision = approve(client)
        self.assertEqual((decision.permitted, decision.code), (False, "tenant_unknown"))

    def test_a_closed_client_denies(self):
        self.client.close()
        self.assertEqual((approve(self.client).permitted, approve(self.client).code), (False, "closed"))


class WithAServerThatMisbehaves(unittest.TestCase):
    def test_every_misbehaviour_is_a_denial_with_its_cause(self):
        for how, code in {
            "silent": "deadline",
            "speechless": "deadline",
            "late": "deadline",
            "garbage": "protocol",
            "float": "protocol",
            "wrong-id": "protocol",
            "wrong-kind": "protocol",
            "liar": "protocol",
            "short": "protocol",
            "huge": "protocol",
            "refuses": "malformed_frame",
            "unwelcome": "not_allowed",
            "obliges": "",
        }.items():
            with self.subTest(how), stile.Client(how, STRANGE, timeout=0.2) as client:
                for _ in range(2):
                    decision = approve(client)
                    self.assertIs(decision.permitted, False)
                    self.assertEqual(decision.code, code)
                    self.assertIs(decision.permitted_with_obligations, how == "obliges")

    def test_questions_are_asked_again_when_a_connection_closes(self):
        with stile.Client("closes", STRANGE, timeout=20) as client:
            self.assertTrue(all(approve(client).permitted for _ in range(20)))

    def test_an_answer_in_pieces_is_an_answer(self):
        with stile.Client("bytes", STRANGE, timeout=20) as client:
            self.assertTrue(approve(client).permitted)

    def test_a_server_that_is_away_is_waited_for_until_the_deadline(self):
        with stile.Client("honest", "/nowhere/at/all.sock", timeout=0.2) as client:
            start = time.monotonic()
            self.assertEqual(approve(client).code, "unreachable")
            self.assertLess(time.monotonic() - start, 5)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
