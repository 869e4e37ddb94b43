"""The local platform, as a person with a terminal sees it."""

import json
import urllib.error
import urllib.request


class Platform:
    def __init__(self, address):
        self.address = address

    def request(self, method, path, body=None, headers=None, form=None):
        data = None if body is None else json.dumps(body).encode()
        if form is not None:
            data = form.encode()
        request = urllib.request.Request(self.address + path, data=data, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def dynamodb(self, operation, body):
        status, answer = self.request("POST", "/", body, {
            "X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0", "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=operator/20260101/us-east-1/dynamodb/aws4_request, "
                             "SignedHeaders=host;x-amz-date, Signature=0",
        })
        assert status == 200, (operation, status, answer)
        return answer

    def scan(self, table, names):
        start = None
        placeholders = {f"#{number}": name for number, name in enumerate(names)}
        while True:
            body = {"TableName": table, "ProjectionExpression": ",".join(placeholders), "ExpressionAttributeNames": placeholders,
                    "Limit": 1000}
            if start:
                body["ExclusiveStartKey"] = start
            answer = self.dynamodb("Scan", body)
            yield from answer["Items"]
            start = answer.get("LastEvaluatedKey")
            if not start:
                return
