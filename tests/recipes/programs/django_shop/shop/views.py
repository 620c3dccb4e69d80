import json

from django.db import transaction
from django.http import JsonResponse
from django.urls import path
from django_publish import publish_on_commit

from shop.models import Order


def orders(request):
    """Return the notes of all orders, delete them, or place those of the request.

    They are placed in one transaction, each in a savepoint of it.
    """
    if request.method == "DELETE":
        Order.objects.all().delete()
    if request.method != "POST":
        return JsonResponse({"notes": list(Order.objects.values_list("note", flat=True))})
    ids = []
    for order in json.loads(request.body):
        try:
            with transaction.atomic():
                ids.append(_place(order))
        except ValueError:
            if order["fail"] == "all":
                raise
    return JsonResponse({"ids": ids}, status=201)


def _place(order):
    placed = Order.objects.create(note=order["note"])
    data = {"order": placed.pk, "note": placed.note, "placed": placed.placed}
    message_id = publish_on_commit(order.get("exchange", "test"), "orders.new/ü", data)
    placed.note = "changed since"
    if "fail" in order:
        raise ValueError("it was told to fail")
    return message_id


urlpatterns = [path("orders", orders)]
