#!/usr/bin/env bash
# A made-up business tenant for measuring: USERS users in departments and groups, RULES rules, random questions.
#
#   tenant.sh DIRECTORY USERS RULES QUESTIONS
#
# Writes DIRECTORY/policies/*.stile, DIRECTORY/data.jsonl and DIRECTORY/questions.jsonl; the same every time.
set -euo pipefail
dir=$1 users=$2 rules=$3 questions=$4
mkdir -p "$dir/policies"
awk -v users="$users" -v rules="$rules" -v questions="$questions" -v dir="$dir" 'BEGIN {
  srand(7)
  split("Finance Sales Legal Support Design Research Logistics Quality", departments, " ")
  catalog = dir "/policies/catalog.stile"
  print "catalog \"bench\" version 1.0.0 {\n  assurance password < mfa" > catalog
  print "  entity user {\n    department: string = \"\"\n    clearance: 0...5 = 0\n    region: enum(eu, us, apac) = eu\n  }" > catalog
  print "  signal user.risk: enum(low < medium < high) = low from caep \"risk-level-change\" expires 7d" > catalog
  for (t = 0; t < 12; t++)
    print "  entity type" t " {\n    region: enum(eu, us, apac)\n    level: 0...5 = 0\n    owner: user?\n  }" > catalog
  printf "  action act0, act1, act2, act3, act4, act5, act6, act7 on type0" > catalog
  for (t = 1; t < 12; t++) printf ", type%d", t > catalog
  print "\n  context {\n    channel: enum(web, api) = web\n  }\n}" > catalog

  policy = dir "/policies/rules.stile"
  print "policy \"Bench\" {" > policy
  for (r = 0; r < rules; r++) {
    type = r % 12; action = int(r / 12) % 8; department = departments[1 + int(rand() * 8)]; group = int(rand() * 40)
    if (r % 10 == 9)
      print "  forbid act" action " on type" type " when user.risk == high and resource.level >= " 1 + int(rand() * 4) > policy
    else if (r % 3 == 0)
      print "  permit act" action " on type" type " when user.department == \"" department "\" and user.clearance >= resource.level" > policy
    else if (r % 3 == 1)
      print "  permit act" action " on type" type " to user in group \"Group " group "\" when resource.region == user.region" > policy
    else
      print "  permit act" action " on type" type " when has resource.owner and resource.owner == user and user.department == \"" department "\"" > policy
  }
  print "}" > policy

  data = dir "/data.jsonl"
  for (u = 0; u < users; u++) {
    split("eu us apac", regions, " ")
    print "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"id\":\"user-" u "\",\"userName\":\"user-" u "\",\"active\":true,\"department\":\"" departments[1 + int(rand() * 8)] "\",\"clearance\":" int(rand() * 6) ",\"region\":\"" regions[1 + int(rand() * 3)] "\"}" > data
  }
  for (g = 0; g < 40; g++) {
    line = "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:Group\"],\"id\":\"g" g "\",\"displayName\":\"Group " g "\",\"members\":["
    size = int(users / 40); if (size > 500) size = 500
    for (m = 0; m < size; m++) line = line (m ? "," : "") "{\"value\":\"user-" (g * size + m) % users "\"}"
    print line "]}" > data
  }
  ask = dir "/questions.jsonl"
  for (q = 0; q < questions; q++)
    print "{\"subject\":{\"type\":\"user\",\"id\":\"user-" int(rand() * users) "\"},\"action\":{\"name\":\"act" int(rand() * 8) "\"},\"resource\":{\"type\":\"type" int(rand() * 12) "\",\"id\":\"r" int(rand() * 3000) "\",\"properties\":{\"region\":\"" regions[1 + int(rand() * 3)] "\",\"level\":" int(rand() * 6) "}},\"context\":{\"channel\":\"api\"}}" > ask
}'
