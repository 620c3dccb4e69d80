from django.db import models


class Order(models.Model):
    note = models.TextField()
    placed = models.DateTimeField(auto_now_add=True)
