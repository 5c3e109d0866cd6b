#!/usr/bin/env bash
# A made-up business tenant for measuring: 12 types of resources, 8 actions, 100 departments, 100 groups.
#
#   tenant.sh DIRECTORY USERS RULES [TYPES ACTIONS DEPARTMENTS GROUPS]
#
# Writes DIRECTORY/policies/*.stile, DIRECTORY/rules.jsonl (the same rules for the peers) and DIRECTORY/data.jsonl; the
# same every time, and the same users whatever RULES is. More rules cut finer, as in a company that grows: what one rule
# says of all departments with a hundred rules, each department says for itself with ten thousand. So about as many
# rules match a question, and about as many questions are permitted, however many rules there are.
# Half of the rules ask for the department and the clearance, a quarter for a group, an eighth for the owner, an eighth
# forbid to users at risk. A pair of type and action needs eight rules to have some of each kind: to see what the number
# of rules does and nothing else, compare tenants of 4 types and 3 actions, where a hundred rules are enough for that, and
# of 1000 departments and groups, so that ten thousand still say different things.
set -euo pipefail
dir=$1 users=$2 rules=$3 types=${4:-12} actions=${5:-8} departments=${6:-100} groups=${7:-100}
mkdir -p "$dir/policies"
awk -v users="$users" -v rules="$rules" -v types="$types" -v actions="$actions" -v departments="$departments" -v groups="$groups" -v dir="$dir" 'BEGIN {
  srand(7)
  split("eu us apac", regions, " ")
  pairs = types * actions
  catalog = dir "/policies/catalog.stile"
  print "catalog \"bench\" version 1.0.0 {\n  assurance password < mfa" > catalog
  print "  subject entity user {\n    department: string = \"\"\n    clearance: 0...5 = 0\n    region: enum(eu, us, apac) = eu\n  }" > catalog
  print "  signal user.risk: enum(low < medium < high) = low from caep \"risk-level-change\" expires 520w" > catalog
  for (t = 0; t < types; t++)
    print "  entity type" t " {\n    region: enum(eu, us, apac)\n    level: 0...5 = 0\n    owner: user?\n  }" > catalog
  for (a = 0; a < actions; a++) printf a ? ", act%d" : "  action act%d", a > catalog
  printf " on type0" > catalog
  for (t = 1; t < types; t++) printf ", type%d", t > catalog
  print "\n  context {\n    channel: enum(web, api) = web\n  }\n}" > catalog

  # How many rules of each kind a pair of type and action gets; the first rule of each pair is one of departments.
  for (r = 0; r < rules; r++) {
    pair = r % pairs; turn = int(r / pairs) % 8
    kind[r] = turn % 2 == 0 ? "department" : turn == 1 || turn == 5 ? "group" : turn == 3 ? "owner" : "risk"
    number[r] = count[pair, kind[r]]++
  }
  policy = dir "/policies/rules.stile"; neutral = dir "/rules.jsonl"
  print "policy \"Bench\" {" > policy
  for (r = 0; r < rules; r++) {
    pair = r % pairs; type = pair % types; action = int(pair / types); all = count[pair, kind[r]]
    from = int(number[r] * departments / all); to = int((number[r] + 1) * departments / all)
    list = ""; json = ""
    for (d = from; d < to; d++) {
      list = list (list ? ", " : "") "\"Department " d "\""
      json = json (json ? "," : "") "\"Department " d "\""
    }
    scope = "act" action " on type" type
    in_list = to - from == departments ? "" : to - from == 1 ? "user.department == " list " and " : "user.department in [" list "] and "
    head = "{\"kind\":\"" kind[r] "\",\"action\":\"act" action "\",\"type\":\"type" type "\",\"all\":" (to - from == departments ? "true" : "false")
    if (kind[r] == "department") {
      print "  permit " scope " when " in_list "user.clearance >= resource.level" > policy
      print head ",\"departments\":[" json "]}" > neutral
    } else if (kind[r] == "group") {
      group = (number[r] + pair * 7) % groups
      print "  permit " scope " to user in group \"Group " group "\" when resource.region == user.region" > policy
      print head ",\"group\":\"Group " group "\"}" > neutral
    } else if (kind[r] == "owner") {
      print "  permit " scope " when " in_list "has resource.owner and resource.owner == user" > policy
      print head ",\"departments\":[" json "]}" > neutral
    } else {
      level = 1 + r % 4
      print "  forbid " scope " when " in_list "user.risk == high and resource.level >= " level > policy
      print head ",\"departments\":[" json "],\"level\":" level "}" > neutral
    }
  }
  print "}" > policy

  data = dir "/data.jsonl"
  for (u = 0; u < users; u++)
    print "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"id\":\"user-" u "\",\"userName\":\"user-" u "\",\"active\":true,\"department\":\"Department " int(rand() * departments) "\",\"clearance\":" int(rand() * 6) ",\"region\":\"" regions[1 + int(rand() * 3)] "\"}" > data
  for (u = 50; u < users; u += 100)
    print "{\"signal\":{\"name\":\"user.risk\",\"subject\":{\"type\":\"user\",\"id\":\"user-" u "\"},\"value\":\"high\"}}" > data
  size = int(users / groups); if (size > 500) size = 500
  for (g = 0; g < groups; g++) {
    line = "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:Group\"],\"id\":\"g" g "\",\"displayName\":\"Group " g "\",\"members\":["
    for (m = 0; m < size; m++) line = line (m ? "," : "") "{\"value\":\"user-" (m * groups + g) % users "\"}"
    print line "]}" > data
  }
}'
