"""Ways in which one AWS principal becomes another, or everything: data, each with where it is described.

The sources are S. Gietzen, AWS IAM Privilege Escalation (Rhino Security Labs, 2018 and later), and the service
authorization reference. A way needs every action of `needs`; each is checked on what the kind of way is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Onto(Enum):
    """What the first action is done to.

    OWN_POLICY: a customer-managed policy that the principal has. SELF: the principal itself. OWN_GROUP: a group it is
    in. USER: any user. GROUP: any group. TRUST: any role's trust. PASS: a new thing of `service` that is given a role
    (iam:PassRole on that role). RUNNING: a thing of `service` that is there and has a role.
    """

    OWN_POLICY = "own policy"
    SELF_USER = "itself, a user"
    SELF_ROLE = "itself, a role"
    OWN_GROUP = "own group"
    USER = "user"
    GROUP = "group"
    TRUST = "trust"
    PASS = "pass"  # noqa: S105 - a word of AWS
    RUNNING = "running"


_REFERENCE = "https://docs.aws.amazon.com/service-authorization/latest/reference/"
_PAGES = {
    "iam": "awsidentityandaccessmanagementiam",
    "ec2": "amazonec2",
    "ec2-instance-connect": "amazonec2instanceconnect",
    "lambda": "awslambda",
    "glue": "awsglue",
    "cloudformation": "awscloudformation",
    "datapipeline": "datapipeline",
    "codebuild": "awscodebuild",
    "sagemaker": "amazonsagemaker",
    "ecs": "amazonelasticcontainerservice",
    "ssm": "awssystemsmanager",
    "bedrock": "amazonbedrock",
    "bedrock-agentcore": "amazonbedrockagentcore",
}


@dataclass(frozen=True)
class Way:
    """`service` is the principal that a role must trust, for PASS and RUNNING."""

    id: str
    onto: Onto
    needs: tuple[str, ...]
    says: str
    service: str = ""

    @property
    def reference(self) -> str:
        """What its first action does (service authorization reference), which the way makes use of."""
        return f"{_REFERENCE}list_{_PAGES[self.needs[0].partition(':')[0]]}.html"


WAYS: tuple[Way, ...] = (
    Way("aws-create-policy-version", Onto.OWN_POLICY, ("iam:CreatePolicyVersion",), "writes its own policy anew"),
    Way("aws-set-policy-version", Onto.OWN_POLICY, ("iam:SetDefaultPolicyVersion",), "goes back to a wider version"),
    Way("aws-attach-user-policy", Onto.SELF_USER, ("iam:AttachUserPolicy",), "attaches any policy to itself"),
    Way("aws-put-user-policy", Onto.SELF_USER, ("iam:PutUserPolicy",), "writes itself a policy"),
    Way("aws-attach-role-policy", Onto.SELF_ROLE, ("iam:AttachRolePolicy",), "attaches any policy to itself"),
    Way("aws-put-role-policy", Onto.SELF_ROLE, ("iam:PutRolePolicy",), "writes itself a policy"),
    Way("aws-attach-group-policy", Onto.OWN_GROUP, ("iam:AttachGroupPolicy",), "attaches any policy to its group"),
    Way("aws-put-group-policy", Onto.OWN_GROUP, ("iam:PutGroupPolicy",), "writes its group a policy"),
    Way("aws-create-access-key", Onto.USER, ("iam:CreateAccessKey",), "makes a key for that user"),
    Way("aws-create-login-profile", Onto.USER, ("iam:CreateLoginProfile",), "gives that user a password"),
    Way("aws-update-login-profile", Onto.USER, ("iam:UpdateLoginProfile",), "changes that user's password"),
    Way("aws-add-user-to-group", Onto.GROUP, ("iam:AddUserToGroup",), "puts itself into that group"),
    Way("aws-update-assume-role-policy", Onto.TRUST, ("iam:UpdateAssumeRolePolicy",), "lets itself assume that role"),
    Way("aws-pass-ec2", Onto.PASS, ("ec2:RunInstances",), "starts a machine with that role", "ec2"),
    Way("aws-pass-lambda-invoke", Onto.PASS, ("lambda:CreateFunction", "lambda:InvokeFunction"),
        "runs a function with that role", "lambda"),
    Way("aws-pass-lambda-permission", Onto.PASS, ("lambda:CreateFunction", "lambda:AddPermission"),
        "runs a function with that role", "lambda"),
    Way("aws-pass-lambda-events", Onto.PASS, ("lambda:CreateFunction", "lambda:CreateEventSourceMapping"),
        "has an event run a function with that role", "lambda"),
    Way("aws-pass-glue", Onto.PASS, ("glue:CreateDevEndpoint",), "starts an endpoint with that role", "glue"),
    Way("aws-pass-glue-job", Onto.PASS, ("glue:CreateJob", "glue:StartJobRun"), "runs a job with that role", "glue"),
    Way("aws-pass-cloudformation", Onto.PASS, ("cloudformation:CreateStack",),
        "has that role make resources", "cloudformation"),
    Way("aws-pass-datapipeline", Onto.PASS, ("datapipeline:CreatePipeline", "datapipeline:PutPipelineDefinition"),
        "runs a pipeline with that role", "datapipeline"),
    Way("aws-pass-codebuild", Onto.PASS, ("codebuild:CreateProject", "codebuild:StartBuild"),
        "builds with that role", "codebuild"),
    Way("aws-pass-codebuild-batch", Onto.PASS, ("codebuild:CreateProject", "codebuild:StartBuildBatch"),
        "builds with that role", "codebuild"),
    Way("aws-pass-sagemaker-notebook", Onto.PASS,
        ("sagemaker:CreateNotebookInstance", "sagemaker:CreatePresignedNotebookInstanceUrl"),
        "opens a notebook with that role", "sagemaker"),
    Way("aws-pass-sagemaker-training", Onto.PASS, ("sagemaker:CreateTrainingJob",),
        "trains with that role", "sagemaker"),
    Way("aws-pass-sagemaker-processing", Onto.PASS, ("sagemaker:CreateProcessingJob",),
        "runs a job with that role", "sagemaker"),
    Way("aws-pass-ecs", Onto.PASS, ("ecs:RegisterTaskDefinition", "ecs:RunTask"),
        "runs a task with that role", "ecs-tasks"),
    Way("aws-pass-bedrock-agent", Onto.PASS, ("bedrock:CreateAgent", "bedrock:InvokeAgent"),
        "has an agent act with that role", "bedrock"),
    Way("aws-pass-bedrock-interpreter", Onto.PASS,
        ("bedrock-agentcore:CreateCodeInterpreter", "bedrock-agentcore:InvokeCodeInterpreter"),
        "runs code with that role", "bedrock-agentcore"),
    Way("aws-update-function-code", Onto.RUNNING, ("lambda:UpdateFunctionCode",),
        "changes the code of a function that has that role", "lambda"),
    Way("aws-update-function-configuration", Onto.RUNNING, ("lambda:UpdateFunctionConfiguration",),
        "puts a layer of its own before a function that has that role", "lambda"),
    Way("aws-ecs-execute-command", Onto.RUNNING, ("ecs:ExecuteCommand",),
        "enters a container that has that role", "ecs-tasks"),
    Way("aws-update-glue-endpoint", Onto.RUNNING, ("glue:UpdateDevEndpoint",),
        "puts its key on an endpoint that has that role", "glue"),
    Way("aws-update-stack", Onto.RUNNING, ("cloudformation:UpdateStack",), "changes a stack that has that role",
        "cloudformation"),
    Way("aws-notebook-url", Onto.RUNNING, ("sagemaker:CreatePresignedNotebookInstanceUrl",),
        "opens a notebook that has that role", "sagemaker"),
    Way("aws-ssm-send-command", Onto.RUNNING, ("ssm:SendCommand",), "commands a machine that has that role", "ec2"),
    Way("aws-ssm-start-session", Onto.RUNNING, ("ssm:StartSession",), "enters a machine that has that role", "ec2"),
    Way("aws-instance-connect", Onto.RUNNING, ("ec2-instance-connect:SendSSHPublicKey",),
        "enters a machine that has that role", "ec2"),
    Way("aws-serial-console", Onto.RUNNING, ("ec2-instance-connect:SendSerialConsoleSSHPublicKey",),
        "enters a machine that has that role", "ec2"),
    Way("aws-bedrock-update-action", Onto.RUNNING, ("bedrock:UpdateAgentActionGroup", "bedrock:InvokeAgent"),
        "changes what an agent with that role does", "bedrock"),
)  # fmt: skip
